r"""Drift and diffusion as conditional moments of the step, smooth functions of the state.

:math:`m(x) = E[X'|x]` and :math:`S(x) = \mathrm{Cov}[X'|x]`, the first two Kramers-Moyal moments,
by local linear regression on a grid: of what a linear mean leaves, and of the products of what is
left then. Away from the data the corrections keep their edge values or fade to zero, so that the
law is there that of a linear mean, which pulls back wherever stationary data do.
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
"""On each axis, by dimension."""


@dataclass(frozen=True, eq=False)
class SmoothMean(Mean):
    """A linear mean and a correction on a grid, with the standard errors of their sum."""

    linear: AdditiveMean
    lower: Float[Tensor, " dim"]
    upper: Float[Tensor, " dim"]
    values: Float[Tensor, "node dim"]
    errors: Float[Tensor, "node dim"]

    @property
    def grid(self) -> Grid:
        """Where the correction is known."""
        return grid_of(self.lower, self.upper)

    def __call__(
        self,
        t: Float[Tensor, "*batch"],
        x: Float[Tensor, "*batch dim"],
        token: Int[Tensor, "*batch"],
    ) -> Float[Tensor, "*batch dim"]:
        return self.linear(t, x, token) + self.grid.interpolate(self.values, x)

    def error(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """The standard error of each coordinate; beyond the grid that of its edge."""
        return self.grid.interpolate(self.errors, x)

    def tensors(self) -> dict[str, Tensor]:
        names = ("lower", "upper", "values", "errors")
        own = {name: getattr(self, name) for name in names}
        return own | prefixed(linear=self.linear.tensors())

    def to(self, dtype: torch.dtype) -> "SmoothMean":
        """The same mean with coefficients of another type."""
        own = (self.lower, self.upper, self.values, self.errors)
        return SmoothMean(self.linear.to(dtype), *(tensor.to(dtype) for tensor in own))

    @classmethod
    def restore(cls, tensors: dict[str, Tensor]) -> "SmoothMean":
        """The inverse of `tensors`."""
        own = {name: t for name, t in tensors.items() if "." not in name}
        return cls(AdditiveMean(**group_of(tensors, "linear")), **own)


@dataclass(frozen=True, eq=False)
class SmoothNoise(Noise):
    """Lower factors of covariances on a grid, with the standard errors of the covariances.

    Between nodes factors are interpolated: a mean of lower factors is one.
    """

    lower: Float[Tensor, " dim"]
    upper: Float[Tensor, " dim"]
    roots: Float[Tensor, "node dim dim"]
    errors: Float[Tensor, "node dim dim"]

    def __call__(self, t: Float[Tensor, "*batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        del t  # the same at all times
        root = self._at(self.roots, x)
        return DiagonalScale(root[..., 0]) if root.shape[-1] == 1 else FullScale(root)

    def error(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim dim"]:
        """The standard error of each entry of the covariance; beyond the grid that of its edge."""
        return self._at(self.errors, x)

    def _at(
        self, values: Float[Tensor, "node dim dim"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim dim"]:
        grid = grid_of(self.lower, self.upper)
        return grid.interpolate(values.flatten(1), x).reshape(*x.shape, values.shape[-1])

    def tensors(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in ("lower", "upper", "roots", "errors")}

    def to(self, dtype: torch.dtype) -> "SmoothNoise":
        """The same noise with coefficients of another type."""
        return SmoothNoise(**{name: tensor.to(dtype) for name, tensor in self.tensors().items()})


@dataclass(frozen=True, eq=False)
class KramersMoyalSDE(KernelSDE):
    """A kernel of smooth moments, which knows how well it knows them."""

    mean: SmoothMean
    noise: SmoothNoise

    def drift_error(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim"]:
        """The standard error of each coordinate of the drift."""
        del t  # the same at all times
        return self.mean.error(x) / self.dt

    def covariance_error(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim dim"]:
        """The standard error of each entry of the diffusion's covariance per unit of time."""
        del t  # the same at all times
        return self.noise.error(x) / self.dt


def grid_of(lower: Float[Tensor, " dim"], upper: Float[Tensor, " dim"]) -> Grid:
    """The grid between these corners."""
    return Grid(lower, upper, NODES[len(lower)])
