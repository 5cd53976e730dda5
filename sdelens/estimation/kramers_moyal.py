r"""Drift and diffusion from Kramers-Moyal conditional moments, as smooth functions of the state.

The moments are :math:`m(x) = E[X'|x]` and :math:`S(x) = \mathrm{Cov}[X'|x]`. Local linear
regression on a grid estimates a correction to a linear mean from its residuals, and S from the
products of the remaining residuals. Away from the data the corrections keep their values at the
edge or decay to zero, so the law is that of the linear mean there, which is mean-reverting for
stationary data.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.estimation.additive import AdditiveMean
from sdelens.laws.grid import Grid
from sdelens.laws.law import Mean, Noise, group_of, prefixed
from sdelens.laws.scale import DiagonalScale, FullScale, Scale
from sdelens.laws.sde import KernelSDE

NODES = {1: 257, 2: 65, 3: 33}
"""Number of grid nodes per axis, by dimension."""


@dataclass(frozen=True, eq=False)
class SmoothMean(Mean):
    """A linear mean plus a correction on a grid, with standard errors of the sum."""

    linear: AdditiveMean
    lower: Float[Tensor, " dim"]
    upper: Float[Tensor, " dim"]
    values: Float[Tensor, "node dim"]
    errors: Float[Tensor, "node dim"]

    @property
    def grid(self) -> Grid:
        """The grid of the correction."""
        return grid_of(self.lower, self.upper)

    def __call__(
        self,
        t: Float[Tensor, "*batch"],
        x: Float[Tensor, "*batch dim"],
        token: Int[Tensor, "*batch"],
    ) -> Float[Tensor, "*batch dim"]:
        return self.linear(t, x, token) + self.grid.interpolate(self.values, x)

    def error(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Standard error of each coordinate; constant outside the grid."""
        return self.grid.interpolate(self.errors, x)

    def tensors(self) -> dict[str, Tensor]:
        names = ("lower", "upper", "values", "errors")
        own = {name: getattr(self, name) for name in names}
        return own | prefixed(linear=self.linear.tensors())

    def to(self, dtype: torch.dtype) -> "SmoothMean":
        """Convert the coefficients to a dtype."""
        own = (self.lower, self.upper, self.values, self.errors)
        return SmoothMean(self.linear.to(dtype), *(tensor.to(dtype) for tensor in own))

    @classmethod
    def restore(cls, tensors: dict[str, Tensor]) -> "SmoothMean":
        """Restore from the result of `tensors`."""
        own = {name: t for name, t in tensors.items() if "." not in name}
        return cls(AdditiveMean(**group_of(tensors, "linear")), **own)


@dataclass(frozen=True, eq=False)
class SmoothNoise(Noise):
    """Lower factors of covariances on a grid, with standard errors of the covariances.

    Factors are interpolated between nodes: an average of lower triangular factors is again one.
    """

    lower: Float[Tensor, " dim"]
    upper: Float[Tensor, " dim"]
    roots: Float[Tensor, "node dim dim"]
    errors: Float[Tensor, "node dim dim"]

    def __call__(self, t: Float[Tensor, "*batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        del t  # constant in time
        root = self._at(self.roots, x)
        return DiagonalScale(root[..., 0]) if root.shape[-1] == 1 else FullScale(root)

    def error(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim dim"]:
        """Standard error of each entry of the covariance; constant outside the grid."""
        return self._at(self.errors, x)

    def _at(
        self, values: Float[Tensor, "node dim dim"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim dim"]:
        grid = grid_of(self.lower, self.upper)
        return grid.interpolate(values.flatten(1), x).reshape(*x.shape, values.shape[-1])

    def tensors(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in ("lower", "upper", "roots", "errors")}

    def to(self, dtype: torch.dtype) -> "SmoothNoise":
        """Convert the coefficients to a dtype."""
        return SmoothNoise(**{name: tensor.to(dtype) for name, tensor in self.tensors().items()})


@dataclass(frozen=True, eq=False)
class KramersMoyalSDE(KernelSDE):
    """A kernel with smooth conditional moments and their standard errors."""

    mean: SmoothMean
    noise: SmoothNoise

    def drift_error(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim"]:
        """Standard error of each coordinate of the drift."""
        del t  # constant in time
        return self.mean.error(x) / self.dt

    def covariance_error(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim dim"]:
        """Standard error of each entry of the covariance of the diffusion, per unit of time."""
        del t  # constant in time
        return self.noise.error(x) / self.dt


def grid_of(lower: Float[Tensor, " dim"], upper: Float[Tensor, " dim"]) -> Grid:
    """The grid between two corners."""
    return Grid(lower, upper, NODES[len(lower)])
