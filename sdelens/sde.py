r"""Stochastic differential equations :math:`dX = \mu(X,t)\,dt + \sigma(X,t)\,dW`, in Itô's sense.

Three meanings of the coefficients, named by `SDE.density`:

- ``discrete``: the law is a Gaussian kernel with mean :math:`m(x,t)` and covariance
  :math:`S(x,t)` over one step; then :math:`\mu = (m - x)/dt` and :math:`\sigma\sigma^\top = S/dt`.
- ``euler``: the same formulas, read as Euler and Maruyama's approximation of a diffusion.
- ``exact``: the coefficients of a linear SDE whose transition law is known in closed form.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import BadNumbers
from sdelens.law import Gaussian, Law, Mean, Noise, prefixed
from sdelens.scale import DiagonalScale, FullScale, Scale
from sdelens.trajectories import NO_TOKEN, Trajectories

Density = Literal["discrete", "euler", "exact"]


class SDE(Law):
    """A drift and a diffusion, and the law of one step that they were fitted by.

    It speaks torchsde's language (`f`, `g`, `g_prod`, `noise_type`, `sde_type`). A ``discrete``
    kernel is reproduced by ``torchsde.sdeint`` under ``method="euler", dt=sde.dt`` only.
    """

    sde_type: ClassVar[str] = "ito"
    density: Density
    dt: float

    @abstractmethod
    def drift(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        r""":math:`\mu(x, t)`, in states per unit of time."""

    @abstractmethod
    def diffusion(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        r""":math:`\sigma(x, t)`: its covariance is per unit of time."""

    @abstractmethod
    def transition(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Gaussian:
        """The law of the state one step of length `dt` later."""

    def predict(self, past: Trajectories) -> Gaussian:
        return self.transition(past.times.expand(past.mask.shape), past.states)

    @property
    def noise_type(self) -> str:
        """torchsde's word for the shape of the diffusion."""
        return "general"

    def f(self, t: Float[Tensor, ""], y: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """torchsde's drift."""
        return self.drift(t.expand(len(y)), y)

    def g(self, t: Float[Tensor, ""], y: Float[Tensor, "batch dim"]) -> Float[Tensor, "..."]:
        """torchsde's diffusion: a vector where the noise is diagonal, else a matrix."""
        scale = self.diffusion(t.expand(len(y)), y)
        if isinstance(scale, DiagonalScale):
            return scale.std.expand(y.shape)
        factor = scale.factor()
        return factor.expand(len(y), *factor.shape[-2:])

    def g_prod(
        self, t: Float[Tensor, ""], y: Float[Tensor, "batch dim"], v: Float[Tensor, "batch noise"]
    ) -> Float[Tensor, "batch dim"]:
        """torchsde's diffusion times noise, without the matrix."""
        return self.diffusion(t.expand(len(y)), y).apply(v)


@dataclass(frozen=True, eq=False)
class KernelSDE(SDE):
    """A Gaussian kernel over steps of length `dt`, read as an SDE."""

    mean: Mean
    noise: Noise
    dt: float = 1.0
    density: Density = "discrete"
    diagonal: bool = True

    def drift(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return (self._next(t, x) - x) / self.dt

    def diffusion(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        return self.noise(t.expand(x.shape[:-1]), x).times(1 / self.dt)

    def transition(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Gaussian:
        return Gaussian(self._next(t, x), self.noise(t.expand(x.shape[:-1]), x))

    def _next(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        t = t.expand(x.shape[:-1])
        return self.mean(t, x, torch.full_like(t, NO_TOKEN, dtype=torch.long))

    @property
    def noise_type(self) -> str:
        return "diagonal" if self.diagonal else "general"

    def tensors(self) -> dict[str, Tensor]:
        return prefixed(mean=self.mean.tensors(), noise=self.noise.tensors())


@dataclass(frozen=True, eq=False)
class LinearSDE(SDE):
    r"""An Ornstein-Uhlenbeck process :math:`dX = (AX + b)\,dt + \sigma dW` with its exact transition.

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
    density: Density = "exact"

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
        step = matrix.double()
        generator_ = real_logarithm(step) / dt
        unit = diffusion_from_step(generator_, covariance.double(), dt)
        # the integral of e^{As} over the step solves  integral A = e^{A dt} - I; by Van Loan's block
        dim = len(step)
        block = torch.zeros(2 * dim, 2 * dim, dtype=torch.double)
        block[:dim, :dim] = generator_ * dt
        block[:dim, dim:] = torch.eye(dim, dtype=torch.double) * dt
        integral = torch.linalg.matrix_exp(block)[:dim, dim:]
        unit_offset = torch.linalg.solve(integral, offset.double())
        parts = (
            generator_,
            unit_offset,
            cholesky(unit),
            step,
            offset.double(),
            cholesky(covariance.double()),
        )
        return cls(*(part.to(matrix.dtype) for part in parts), dt=dt)

    def drift(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
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


def real_logarithm(step: Float[Tensor, "dim dim"]) -> Float[Tensor, "dim dim"]:
    """The principal logarithm of a one-step matrix; an error where it is not real."""
    values, vectors = torch.linalg.eig(step)
    negative = (values.imag.abs() < 1e-12) & (values.real <= 0)
    if negative.any():
        raise BadNumbers(
            "no linear SDE has this one-step matrix: an exact density needs a real logarithm, but "
            f"the matrix has the eigenvalue {values.real[negative][0]:.3g}; use density=discrete, "
            "or observe the process more often"
        )
    logarithm = torch.linalg.solve(vectors, vectors * values.log(), left=False)
    if not torch.linalg.matrix_exp(logarithm.real).allclose(step, rtol=1e-6, atol=1e-8):
        raise BadNumbers(
            "no linear SDE could be recovered from this one-step matrix: its logarithm is not real "
            "or too ill-conditioned; use density=discrete"
        )
    return logarithm.real


def diffusion_from_step(
    matrix: Float[Tensor, "dim dim"], covariance: Float[Tensor, "dim dim"], dt: float
) -> Float[Tensor, "dim dim"]:
    r"""The :math:`a=\sigma\sigma^\top` whose exact covariance over dt is given; an error if none.

    The covariance solves :math:`AS + SA^\top = e^{A dt} a\, e^{A^\top dt} - a`, which is linear in
    a: in A's eigenbasis it divides by :math:`(e^{(\lambda_i+\lambda_j)dt}-1)/(\lambda_i+\lambda_j)`.
    """
    values, vectors = torch.linalg.eig(matrix)
    sums = values[:, None] + values[None, :]
    small = sums.abs() * dt < 1e-12
    gains = torch.where(small, torch.full_like(sums, dt), torch.expm1(sums * dt) / (sums + small))
    inverse = torch.linalg.inv(vectors)
    inside = inverse @ covariance.to(values.dtype) @ inverse.mT
    unit = (vectors @ (inside / gains) @ vectors.mT).real
    unit = (unit + unit.mT) / 2
    lowest = float(torch.linalg.eigvalsh(unit)[0])
    if lowest <= 0:
        raise BadNumbers(
            "no linear SDE has this one-step law: its diffusion would have the negative eigenvalue "
            f"{lowest:.3g}; use density=discrete"
        )
    return unit


def cholesky(covariance: Float[Tensor, "dim dim"]) -> Float[Tensor, "dim dim"]:
    """The lower factor; an error that says so where the matrix is not positive definite."""
    root, info = torch.linalg.cholesky_ex(covariance)
    if int(info) != 0 or not root.isfinite().all():
        raise BadNumbers(
            f"a covariance must be positive definite, but its leading minor {int(info)} is not: are "
            "some coordinates constant or copies of others? A basis such as pca:K drops them"
        )
    return root
