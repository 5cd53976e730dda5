r"""The noise of one step, as a linear map: :math:`\sigma\xi` with :math:`\xi \sim N(0, I)`.

A `Scale` stands for :math:`\sigma`; its covariance is :math:`\sigma\sigma^\top`. Noises and
residuals broadcast against a scale's own batch, and no ``dim x dim`` matrix is formed unless asked
for.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


class Scale(ABC):
    """A linear map from independent standard normal noise to a residual."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """The number of independent noises."""

    @abstractmethod
    def apply(self, noise: Float[Tensor, "*#batch noise"]) -> Float[Tensor, "*batch dim"]:
        r""":math:`\sigma\xi`."""

    @abstractmethod
    def factor(self) -> Float[Tensor, "*batch dim noise"]:
        r""":math:`\sigma` as a matrix."""

    @abstractmethod
    def variance(self) -> Float[Tensor, "*batch dim"]:
        r"""The diagonal of :math:`\sigma\sigma^\top`."""

    @abstractmethod
    def times(self, dt: float) -> "Scale":
        r""":math:`\sigma\sqrt{dt}`: the noise of a step of length dt, given that of unit time."""

    @abstractmethod
    def log_density(self, residual: Float[Tensor, "*#batch dim"]) -> Float[Tensor, "*batch"]:
        r""":math:`\log N(r; 0, \sigma\sigma^\top)` in nats."""

    def covariance(self) -> Float[Tensor, "*batch dim dim"]:
        r""":math:`\sigma\sigma^\top`."""
        factor = self.factor()
        return factor @ factor.mT


@dataclass(frozen=True, eq=False)
class DiagonalScale(Scale):
    """Independent noise in every coordinate."""

    std: Float[Tensor, "*batch dim"]

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

    def times(self, dt: float) -> "DiagonalScale":
        return DiagonalScale(self.std * math.sqrt(dt))

    def log_density(self, residual: Float[Tensor, "*#batch dim"]) -> Float[Tensor, "*batch"]:
        squares = (residual / self.std).square().sum(-1)
        return -0.5 * (squares + self.channels * LOG_2PI) - self.std.log().sum(-1)


@dataclass(frozen=True, eq=False)
class LowRankScale(Scale):
    r"""Diagonal plus low rank, :math:`S = D^2 + UU^\top`, the same for every state.

    By Woodbury's identity with the capacitance :math:`C = I + U^\top D^{-2} U`, a density costs
    :math:`O(dk^2 + k^3)` once and :math:`O(dk)` per residual.
    """

    std: Float[Tensor, " dim"]
    columns: Float[Tensor, "dim rank"]

    @property
    def channels(self) -> int:
        return sum(self.columns.shape)

    def apply(self, noise: Float[Tensor, "*#batch noise"]) -> Float[Tensor, "*batch dim"]:
        dim = len(self.std)
        return self.std * noise[..., :dim] + noise[..., dim:] @ self.columns.mT

    def factor(self) -> Float[Tensor, "*batch dim noise"]:
        return torch.cat([self.std.diag(), self.columns], dim=-1)

    def variance(self) -> Float[Tensor, "*batch dim"]:
        return self.std.square() + self.columns.square().sum(-1)

    def times(self, dt: float) -> "LowRankScale":
        return LowRankScale(self.std * math.sqrt(dt), self.columns * math.sqrt(dt))

    def log_density(self, residual: Float[Tensor, "*#batch dim"]) -> Float[Tensor, "*batch"]:
        dim, rank = self.columns.shape
        whitened = self.columns / self.std[:, None]
        identity = torch.eye(rank, dtype=whitened.dtype, device=whitened.device)
        root: Tensor = torch.linalg.cholesky(identity + whitened.mT @ whitened)
        # D^-2 U L^-T, so that one product per residual gives the Woodbury correction; the small
        # factor is inverted, since a solve with all of U costs as much as that product
        inverse: Tensor = torch.linalg.solve_triangular(root, identity, upper=False)
        projector = (whitened / self.std[:, None]) @ inverse.mT
        corrections = (residual @ projector).square().sum(-1)
        # a product with D^-2 instead of a division: one pass less over the residuals
        squares = residual.square() @ self.std.square().reciprocal() - corrections
        log_det = 2 * (self.std.log().sum() + root.diagonal().log().sum())
        return -0.5 * (squares + log_det + dim * LOG_2PI)


@dataclass(frozen=True, eq=False)
class ScaledCorrelation(Scale):
    r"""A state-dependent diagonal times a constant scale, :math:`\mathrm{diag}(s)\,C`."""

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

    def times(self, dt: float) -> "ScaledCorrelation":
        return ScaledCorrelation(self.std * math.sqrt(dt), self.correlation)

    def log_density(self, residual: Float[Tensor, "*#batch dim"]) -> Float[Tensor, "*batch"]:
        return self.correlation.log_density(residual / self.std) - self.std.log().sum(-1)


@dataclass(frozen=True, eq=False)
class FullScale(Scale):
    """Any covariance, by its lower Cholesky factor."""

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

    def times(self, dt: float) -> "FullScale":
        return FullScale(self.root * math.sqrt(dt))

    def log_density(self, residual: Float[Tensor, "*#batch dim"]) -> Float[Tensor, "*batch"]:
        scaled: Tensor
        if self.root.ndim == 2:  # one factor for the whole batch: one solve
            columns = residual.reshape(-1, self.channels).mT
            scaled = torch.linalg.solve_triangular(self.root, columns, upper=False).mT
            scaled = scaled.reshape(residual.shape)
        else:
            scaled = torch.linalg.solve_triangular(self.root, residual[..., None], upper=False)
            scaled = scaled[..., 0]
        log_det = self.root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return -0.5 * (scaled.square().sum(-1) + self.channels * LOG_2PI) - log_det
