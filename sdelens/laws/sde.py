r"""Itô stochastic differential equations :math:`dX = \mu(X,t)\,dt + \sigma(X,t)\,dW`.

`SDE.density` names the relation between the coefficients and the law of one step:

- ``discrete``: the law is a Gaussian kernel with mean :math:`m(x,t)` and covariance
  :math:`S(x,t)` over one step; :math:`\mu = (m - x)/dt` and :math:`\sigma\sigma^\top = S/dt`;
- ``euler``: the same formulas, as the Euler-Maruyama approximation of a diffusion;
- ``kessler``, ``ozaki``, ``strang``: the coefficients of a diffusion under a higher-order
  approximation of its transition law (`sdelens.laws.coefficient_sde`);
- ``exact``: the coefficients of a linear SDE, whose transition law is known in closed form.
"""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.law import Gaussian, Law, Mean, Noise, Predictive, prefixed
from sdelens.laws.matrices import (
    cholesky,
    diffusion_from_step,
    integral_of_exponential,
    real_logarithm,
)
from sdelens.laws.scale import FullScale, Scale
from sdelens.paths.moments import nearest
from sdelens.paths.trajectories import NO_TOKEN, Trajectories

Density = Literal["discrete", "euler", "kessler", "ozaki", "strang", "exact"]


class SDE(Law):
    """An SDE: drift, diffusion, and the law of one step.

    It implements the torchsde interface (`f`, `g`, `g_prod`, `noise_type`, `sde_type`).
    ``torchsde.sdeint`` reproduces a ``discrete`` kernel only with ``method="euler", dt=sde.dt``.
    """

    sde_type: ClassVar[str] = "ito"
    density: Density
    dt: float

    @abstractmethod
    def drift(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim"]:
        r"""Drift :math:`\mu(x, t)`, in states per unit of time."""

    @abstractmethod
    def diffusion(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        r"""Diffusion :math:`\sigma(x, t)`; its covariance is per unit of time."""

    @abstractmethod
    def transition(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Predictive:
        """Law of the state after one step of length `dt`."""

    def predict(self, past: Trajectories) -> Predictive:
        return self.transition(past.times.expand(past.mask.shape), past.states)

    @property
    def noise_type(self) -> str:
        """Noise type of the diffusion in torchsde's terms."""
        return "general"

    def f(self, t: Float[Tensor, ""], y: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """Drift for torchsde."""
        return self.drift(_shared(t, y), y)

    def g(self, t: Float[Tensor, ""], y: Float[Tensor, "batch dim"]) -> Float[Tensor, "..."]:
        """Diffusion for torchsde: a vector if the noise is diagonal, otherwise a matrix."""
        return self.diffusion(_shared(t, y), y).for_torchsde(len(y))

    def g_prod(
        self, t: Float[Tensor, ""], y: Float[Tensor, "batch dim"], v: Float[Tensor, "batch noise"]
    ) -> Float[Tensor, "batch dim"]:
        """Product of the diffusion with noise, for torchsde; it does not form the matrix."""
        return self.diffusion(_shared(t, y), y).apply(v)


def _shared(t: Float[Tensor, ""], y: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
    """Repeat the time for every path; torchsde's may be float64 when the states are float32."""
    return t.to(y).expand(len(y))


@dataclass(frozen=True, eq=False)
class KernelSDE(SDE):
    """A Gaussian kernel over steps of length `dt`, as an SDE."""

    mean: Mean
    noise: Noise
    dt: float = 1.0
    density: Density = "discrete"
    diagonal: bool = True

    def drift(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim"]:
        return (self._next(t, x) - x) / self.dt

    def diffusion(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        return self.noise(t.expand(x.shape[:-1]), x).times(1 / self.dt)

    def transition(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Gaussian:
        return Gaussian(self._next(t, x), self.noise(t.expand(x.shape[:-1]), x))

    def _next(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim"]:
        t = t.expand(x.shape[:-1])
        return self.mean(t, x, torch.full_like(t, NO_TOKEN, dtype=torch.long))

    @property
    def constant_noise(self) -> bool:
        return self.noise.constant

    @property
    def noise_type(self) -> str:
        return "diagonal" if self.diagonal else "general"

    def tensors(self) -> dict[str, Tensor]:
        return prefixed(mean=self.mean.tensors(), noise=self.noise.tensors())


@dataclass(frozen=True, eq=False)
class LinearSDE(SDE):
    r"""Ornstein-Uhlenbeck process :math:`dX = (AX + b_t)\,dt + \sigma dW` with its exact law.

    b is constant over each step; a time that was not fitted has that of the nearest one.
    Over one step :math:`X' = e^{A dt}X + A^{-1}(e^{A dt}-I)\,b + \varepsilon` with
    :math:`\mathrm{Cov}\,\varepsilon = \int_0^{dt} e^{As}\sigma\sigma^\top e^{A^\top s} ds`; see
    Van Loan, "Computing integrals involving the matrix exponential" (1978).
    """

    matrix: Float[Tensor, "dim dim"]
    """A, per unit of time."""
    times: Float[Tensor, " time"]
    """Times of the offsets; one if they are constant."""
    offset: Float[Tensor, "time dim"]
    """b at each time, in states per unit of time."""
    root: Float[Tensor, "dim dim"]
    """Lower Cholesky factor of the covariance per unit of time."""
    step_matrix: Float[Tensor, "dim dim"]
    step_offset: Float[Tensor, "time dim"]
    step_root: Float[Tensor, "dim dim"]
    dt: float
    density: Density = field(default="exact", init=False)

    @property
    def constant_noise(self) -> bool:
        return True

    @classmethod
    def from_step(
        cls,
        matrix: Float[Tensor, "dim dim"],
        offset: Float[Tensor, "*time dim"],
        covariance: Float[Tensor, "dim dim"],
        dt: float,
        times: Float[Tensor, " time"] | None = None,
    ) -> "LinearSDE":
        """SDE whose law over `dt` has the mean ``matrix @ x + offset`` and the given covariance.

        With `times`, there is an offset for each of them.
        Raises `BadNumbers` if no such SDE exists: the matrix has no real logarithm, or the
        diffusion is not positive semi-definite (the embedding problem).
        """
        dim = len(matrix)
        step, start, noise = matrix.double(), offset.double().view(-1, dim), covariance.double()
        # in units of the noise, so that rounding does not depend on those of the coordinates
        unit = noise.diagonal().sqrt()
        rate = real_logarithm(step * unit / unit[:, None]) / dt
        diffusion = diffusion_from_step(rate, noise / unit / unit[:, None], dt)
        level = torch.linalg.solve(integral_of_exponential(rate, dt), (start / unit).mT).mT
        solution = {
            "times": start.new_zeros(1) if times is None else times.double(),
            "matrix": rate * unit[:, None] / unit,
            "offset": level * unit,
            "root": cholesky(diffusion) * unit[:, None],
            "step_matrix": step,
            "step_offset": start,
            "step_root": cholesky(noise),
        }
        kind = matrix.dtype
        return cls(**{name: t.to(kind).contiguous() for name, t in solution.items()}, dt=dt)

    def drift(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim"]:
        return x @ self.matrix.mT + self._at(t, self.offset)

    def _at(
        self, t: Float[Tensor, "*#batch"], offset: Float[Tensor, "time dim"]
    ) -> Float[Tensor, "*#batch dim"]:
        """The offset at each time."""
        return offset[0] if len(offset) == 1 else offset[nearest(self.times, t)]

    def diffusion(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        del t, x  # the coefficients are constant
        return FullScale(self.root)

    def transition(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Gaussian:
        offset = self._at(t, self.step_offset)
        return Gaussian(x @ self.step_matrix.mT + offset, FullScale(self.step_root))

    def tensors(self) -> dict[str, Tensor]:
        names = ("matrix", "times", "offset", "root", "step_matrix", "step_offset", "step_root")
        return {name: getattr(self, name) for name in names}
