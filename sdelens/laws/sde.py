r"""Stochastic differential equations :math:`dX = \mu(X,t)\,dt + \sigma(X,t)\,dW`, in Itô's sense.

The meaning of the coefficients is named by `SDE.density`:

- ``discrete``: the law is a Gaussian kernel with mean :math:`m(x,t)` and covariance
  :math:`S(x,t)` over one step; then :math:`\mu = (m - x)/dt` and :math:`\sigma\sigma^\top = S/dt`.
- ``euler``: the same formulas, read as Euler and Maruyama's approximation of a diffusion.
- ``kessler``, ``ozaki``, ``strang``: coefficients of a diffusion under an approximation of its law
  of higher order (`sdelens.laws.coefficient_sde`);
- ``exact``: the coefficients of a linear SDE whose transition law is known in closed form.
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
from sdelens.paths.trajectories import NO_TOKEN, Trajectories

Density = Literal["discrete", "euler", "kessler", "ozaki", "strang", "exact"]


class SDE(Law):
    """A drift and a diffusion, and the law of one step that they were fitted by.

    It speaks torchsde's language (`f`, `g`, `g_prod`, `noise_type`, `sde_type`). A ``discrete``
    kernel is reproduced by ``torchsde.sdeint`` under ``method="euler", dt=sde.dt`` only.
    """

    sde_type: ClassVar[str] = "ito"
    density: Density
    dt: float

    @abstractmethod
    def drift(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim"]:
        r""":math:`\mu(x, t)`, in states per unit of time."""

    @abstractmethod
    def diffusion(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        r""":math:`\sigma(x, t)`: its covariance is per unit of time."""

    @abstractmethod
    def transition(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Predictive:
        """The law of the state one step of length `dt` later."""

    def predict(self, past: Trajectories) -> Predictive:
        return self.transition(past.times.expand(past.mask.shape), past.states)

    @property
    def noise_type(self) -> str:
        """The shape of the diffusion in torchsde's words."""
        return "general"

    def f(self, t: Float[Tensor, ""], y: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """The drift, for torchsde."""
        return self.drift(_shared(t, y), y)

    def g(self, t: Float[Tensor, ""], y: Float[Tensor, "batch dim"]) -> Float[Tensor, "..."]:
        """The diffusion, for torchsde: a vector where the noise is diagonal, else a matrix."""
        return self.diffusion(_shared(t, y), y).for_torchsde(len(y))

    def g_prod(
        self, t: Float[Tensor, ""], y: Float[Tensor, "batch dim"], v: Float[Tensor, "batch noise"]
    ) -> Float[Tensor, "batch dim"]:
        """The diffusion times noise, for torchsde, without the matrix."""
        return self.diffusion(_shared(t, y), y).apply(v)


def _shared(t: Float[Tensor, ""], y: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
    """One time for every path; torchsde's may be a double where the states are floats."""
    return t.to(y).expand(len(y))


@dataclass(frozen=True, eq=False)
class KernelSDE(SDE):
    """A Gaussian kernel over steps of length `dt`, read as an SDE."""

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
    r"""An Ornstein-Uhlenbeck process :math:`dX = (AX + b)\,dt + \sigma dW`, with its exact law.

    Over one step :math:`X' = e^{A dt}X + A^{-1}(e^{A dt}-I)\,b + \varepsilon` with
    :math:`\mathrm{Cov}\,\varepsilon = \int_0^{dt} e^{As}\sigma\sigma^\top e^{A^\top s} ds`, by
    Van Loan, "Computing integrals involving the matrix exponential" (1978).
    """

    matrix: Float[Tensor, "dim dim"]
    """A, per unit of time."""
    offset: Float[Tensor, " dim"]
    """b, in states per unit of time."""
    root: Float[Tensor, "dim dim"]
    """The lower Cholesky factor of the covariance per unit of time."""
    step_matrix: Float[Tensor, "dim dim"]
    step_offset: Float[Tensor, " dim"]
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
        offset: Float[Tensor, " dim"],
        covariance: Float[Tensor, "dim dim"],
        dt: float,
    ) -> "LinearSDE":
        """The SDE whose exact law over `dt` has this mean ``matrix @ x + offset`` and covariance.

        Raises `BadNumbers` where there is none: no real logarithm, or no positive semi-definite
        diffusion (the embedding problem).
        """
        step, start = matrix.double(), offset.double()
        rate = real_logarithm(step) / dt
        unit = diffusion_from_step(rate, covariance.double(), dt)
        solution = {
            "matrix": rate,
            "offset": torch.linalg.solve(integral_of_exponential(rate, dt), start),
            "root": cholesky(unit),
            "step_matrix": step,
            "step_offset": start,
            "step_root": cholesky(covariance.double()),
        }
        kind = matrix.dtype
        return cls(**{name: t.to(kind).contiguous() for name, t in solution.items()}, dt=dt)

    def drift(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim"]:
        del t  # the coefficients are constant
        return x @ self.matrix.mT + self.offset

    def diffusion(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        del t, x  # the coefficients are constant
        return FullScale(self.root)

    def transition(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Gaussian:
        del t  # the coefficients are constant
        return Gaussian(x @ self.step_matrix.mT + self.step_offset, FullScale(self.step_root))

    def tensors(self) -> dict[str, Tensor]:
        names = ("matrix", "offset", "root", "step_matrix", "step_offset", "step_root")
        return {name: getattr(self, name) for name in names}
