r"""Noise of one step as a linear map, :math:`\sigma\xi` with :math:`\xi \sim N(0, I)`.

A `Scale` represents :math:`\sigma`; its covariance is :math:`\sigma\sigma^\top`. Noise and
residuals broadcast against the batch of the scale. A ``dim x dim`` matrix is formed only by
methods that return or require one.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


class Scale(ABC):
    """Linear map from independent standard normal noise to a residual."""

    independent: ClassVar[bool] = False
    """Whether the coordinates are independent."""
    factor_name: ClassVar[str] = "a factor of it"
    """Description of `factor`, for messages."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """The number of independent noise variables."""

    @abstractmethod
    def apply(self, noise: Float[Tensor, "*#batch noise"]) -> Float[Tensor, "*batch dim"]:
        r"""Apply the map: :math:`\sigma\xi`."""

    @abstractmethod
    def factor(self) -> Float[Tensor, "*batch dim noise"]:
        r"""The matrix :math:`\sigma`."""

    @abstractmethod
    def variance(self) -> Float[Tensor, "*batch dim"]:
        r"""The diagonal of :math:`\sigma\sigma^\top`."""

    @abstractmethod
    def times(self, dt: float) -> "Scale":
        r"""The scale :math:`\sigma\sqrt{dt}`: from unit time to a step of length dt."""

    @abstractmethod
    def log_density(self, residual: Float[Tensor, "*#batch dim"]) -> Float[Tensor, "*batch"]:
        r"""Log density of a residual, :math:`\log N(r; 0, \sigma\sigma^\top)`, in nats."""

    def covariance(self) -> Float[Tensor, "*batch dim dim"]:
        r"""The covariance :math:`\sigma\sigma^\top`."""
        factor = self.factor()
        return factor @ factor.mT

    def summed_covariance(self, states: int) -> Float[Tensor, "dim dim"]:
        """Sum of the covariance over `states` states, in float64; a constant one is repeated."""
        covariance = self.covariance().double()
        return covariance.expand(states, *covariance.shape[-2:]).sum(0)

    def lower(self) -> Float[Tensor, "*batch dim dim"]:
        """A square, lower triangular factor of the covariance."""
        root: Tensor = torch.linalg.cholesky(self.covariance())
        return root

    def whiten(self, residual: Float[Tensor, "*#batch dim"]) -> Float[Tensor, "*batch dim"]:
        r"""Whiten a residual: :math:`L^{-1}r` with the lower Cholesky factor L of the covariance.

        This is Rosenblatt's transform (1952): each coordinate is standardised given the previous
        ones, and independent of them under the true law.
        """
        root = torch.linalg.cholesky(self.covariance().double())
        return _solved(root.to(residual.dtype), residual)

    def trace(self, weight: Float[Tensor, "dim dim"]) -> Float[Tensor, "*batch"]:
        r"""Trace :math:`\mathrm{tr}(P\,\sigma\sigma^\top)` in float64, for a symmetric P."""
        return (weight * self.covariance().double()).sum((-2, -1))

    def gap(self, other: "Scale", weight: Float[Tensor, "dim dim"]) -> Float[Tensor, "*batch"]:
        r"""Mean square separation under shared noise, :math:`E|(\sigma_1-\sigma_2)\xi|_P^2`."""
        factor = (self.factor() - other.factor()).double()
        return (factor * (weight @ factor)).sum((-2, -1))

    def entries(self) -> Float[Tensor, "*batch entry"]:
        r"""Vector whose Euclidean distances are Frobenius distances between :math:`\sigma`."""
        return self.factor().flatten(-2)

    def for_torchsde(self, paths: int) -> Float[Tensor, "paths *entries"]:
        """One matrix per path, or one vector per path if the coordinates are independent."""
        factor = self.factor()
        return factor.expand(paths, *factor.shape[-2:])


@dataclass(frozen=True, eq=False)
class DiagonalScale(Scale):
    """Independent noise in each coordinate."""

    independent: ClassVar[bool] = True
    factor_name: ClassVar[str] = "the diagonal of standard deviations"

    std: Float[Tensor, "*batch dim"]

    @property
    def columns(self) -> Float[Tensor, "dim rank"]:
        """Columns as in `LowRankScale`, with rank 0."""
        return self.std.new_zeros(self.channels, 0)

    @property
    def channels(self) -> int:
        return self.std.shape[-1]

    def apply(self, noise: Float[Tensor, "*#batch noise"]) -> Float[Tensor, "*batch dim"]:
        return self.std * noise

    def factor(self) -> Float[Tensor, "*batch dim noise"]:
        return self.std.diag_embed()

    def variance(self) -> Float[Tensor, "*batch dim"]:
        return self.std.square()

    def covariance(self) -> Float[Tensor, "*batch dim dim"]:
        return self.variance().diag_embed()

    def summed_covariance(self, states: int) -> Float[Tensor, "dim dim"]:
        variance = self.variance().double()
        return variance.expand(states, variance.shape[-1]).sum(0).diag()

    def lower(self) -> Float[Tensor, "*batch dim dim"]:
        return self.factor()

    def whiten(self, residual: Float[Tensor, "*#batch dim"]) -> Float[Tensor, "*batch dim"]:
        return residual / self.std

    def trace(self, weight: Float[Tensor, "dim dim"]) -> Float[Tensor, "*batch"]:
        return self.variance().double() @ weight.diagonal()

    def gap(self, other: Scale, weight: Float[Tensor, "dim dim"]) -> Float[Tensor, "*batch"]:
        if not isinstance(other, DiagonalScale):
            return super().gap(other, weight)
        return DiagonalScale(self.std - other.std).trace(weight)

    def entries(self) -> Float[Tensor, "*batch entry"]:
        return self.std

    def for_torchsde(self, paths: int) -> Float[Tensor, "paths *entries"]:
        return self.std.expand(paths, self.channels)

    def times(self, dt: float) -> "DiagonalScale":
        return DiagonalScale(self.std * math.sqrt(dt))

    def log_density(self, residual: Float[Tensor, "*#batch dim"]) -> Float[Tensor, "*batch"]:
        squares = (residual / self.std).square().sum(-1)
        return -0.5 * (squares + self.channels * LOG_2PI) - self.std.log().sum(-1)


@dataclass(frozen=True, eq=False)
class ScaledCorrelation(Scale):
    r"""A state-dependent diagonal times a constant scale, :math:`\mathrm{diag}(s)\,C`."""

    factor_name: ClassVar[str] = "standard deviations times the root of a constant correlation"

    std: Float[Tensor, "*batch dim"]
    correlation: Scale

    @property
    def channels(self) -> int:
        return self.correlation.channels

    def apply(self, noise: Float[Tensor, "*#batch noise"]) -> Float[Tensor, "*batch dim"]:
        return self.std * self.correlation.apply(noise)

    def factor(self) -> Float[Tensor, "*batch dim noise"]:
        return self.std[..., None] * self.correlation.factor()

    def variance(self) -> Float[Tensor, "*batch dim"]:
        return self.std.square() * self.correlation.variance()

    def whiten(self, residual: Float[Tensor, "*#batch dim"]) -> Float[Tensor, "*batch dim"]:
        # a diagonal times a triangular factor is triangular
        return self.correlation.whiten(residual / self.std)

    def trace(self, weight: Float[Tensor, "dim dim"]) -> Float[Tensor, "*batch"]:
        std, shape = self.std.double(), weight * self.correlation.covariance().double()
        return ((std @ shape) * std).sum(-1)

    def gap(self, other: Scale, weight: Float[Tensor, "dim dim"]) -> Float[Tensor, "*batch"]:
        if not isinstance(other, ScaledCorrelation):
            return super().gap(other, weight)
        # both have the same correlation, since they are scales of two states under one law
        return ScaledCorrelation(self.std - other.std, self.correlation).trace(weight)

    def entries(self) -> Float[Tensor, "*batch entry"]:
        return self.std * self.correlation.variance().sqrt()

    def times(self, dt: float) -> "ScaledCorrelation":
        return ScaledCorrelation(self.std * math.sqrt(dt), self.correlation)

    def log_density(self, residual: Float[Tensor, "*#batch dim"]) -> Float[Tensor, "*batch"]:
        return self.correlation.log_density(residual / self.std) - self.std.log().sum(-1)


@dataclass(frozen=True, eq=False)
class FullScale(Scale):
    """Any covariance, stored as its lower Cholesky factor."""

    factor_name: ClassVar[str] = "the lower Cholesky factor"

    root: Float[Tensor, "*batch dim dim"]

    @property
    def channels(self) -> int:
        return self.root.shape[-1]

    def apply(self, noise: Float[Tensor, "*#batch noise"]) -> Float[Tensor, "*batch dim"]:
        return torch.einsum("...ij,...j->...i", self.root, noise)

    def factor(self) -> Float[Tensor, "*batch dim noise"]:
        return self.root

    def variance(self) -> Float[Tensor, "*batch dim"]:
        return self.root.square().sum(-1)

    def lower(self) -> Float[Tensor, "*batch dim dim"]:
        return self.root

    def whiten(self, residual: Float[Tensor, "*#batch dim"]) -> Float[Tensor, "*batch dim"]:
        return _solved(self.root, residual)

    def times(self, dt: float) -> "FullScale":
        return FullScale(self.root * math.sqrt(dt))

    def log_density(self, residual: Float[Tensor, "*#batch dim"]) -> Float[Tensor, "*batch"]:
        squares = self.whiten(residual).square().sum(-1)
        log_det = self.root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return -0.5 * (squares + self.channels * LOG_2PI) - log_det


def _solved(
    root: Float[Tensor, "*#batch dim dim"], residual: Float[Tensor, "*#batch dim"]
) -> Float[Tensor, "*batch dim"]:
    """Solve with a lower triangular factor; a factor shared by the batch takes one solve."""
    solved: Tensor
    if root.ndim == 2:
        columns = residual.reshape(-1, residual.shape[-1]).mT
        solved = torch.linalg.solve_triangular(root, columns, upper=False).mT
        return solved.reshape(residual.shape)
    solved = torch.linalg.solve_triangular(root, residual[..., None], upper=False)
    return solved[..., 0]
