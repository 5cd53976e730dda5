r"""Noise family ``correlated:K``: diagonal plus low rank, :math:`S = D^2 + UU^\top`."""

import math
import re
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.noise_families.family import NoiseFamily, standardised
from sdelens.laws.scale import LOG_2PI, Scale


@dataclass(frozen=True, eq=False)
class LowRankScale(Scale):
    r"""Covariance :math:`S = D^2 + UU^\top`, diagonal plus low rank, the same in every state.

    With Woodbury's identity and the capacitance matrix :math:`C = I + U^\top D^{-2} U`, a density
    costs :math:`O(dk^2 + k^3)` once and :math:`O(dk)` per residual.
    """

    factor_name: ClassVar[str] = "a constant diagonal and constant columns"

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
        # D^-2 U L^-T, with which the Woodbury correction takes one product per residual; the small
        # factor is inverted because a solve with all of U costs as much as that product
        inverse: Tensor = torch.linalg.solve_triangular(root, identity, upper=False)
        projector = (whitened / self.std[:, None]) @ inverse.mT
        corrections = (residual @ projector).square().sum(-1)
        # a product with D^-2 instead of a division saves one pass over the residuals
        squares = residual.square() @ self.std.square().reciprocal() - corrections
        log_det = 2 * (self.std.log().sum() + root.diagonal().log().sum())
        return -0.5 * (squares + log_det + dim * LOG_2PI)


@dataclass(frozen=True)
class LowRank(NoiseFamily):
    """Diagonal plus `rank` shared columns; the rank is reduced to at most dim - 1."""

    usage: ClassVar[str] = "correlated:K"
    scale: ClassVar[type[Scale]] = LowRankScale

    rank: int

    @classmethod
    def parse(cls, argument: str | None) -> "NoiseFamily | None":
        return cls(int(argument)) if argument and re.fullmatch(r"[1-9]\d*", argument) else None

    def estimate(
        self, covariance: Float[Tensor, "dim dim"], count: int | None = None
    ) -> LowRankScale:
        del count
        std, correlation = standardised(covariance)
        unique, columns = factor_analysis(correlation, min(self.rank, len(std) - 1))
        return LowRankScale(unique * std, columns * std[:, None])

    def free(self, scale: Scale, std: Float[Tensor, " dim"]) -> dict[str, Tensor]:
        """The columns and the logarithm of D."""
        found = cast(LowRankScale, scale)
        return {"log_unique": (found.std / std).log(), "columns": found.columns / std[:, None]}

    def correlation(self, free: dict[str, Tensor]) -> LowRankScale:
        return LowRankScale(free["log_unique"].exp(), free["columns"])


def factor_analysis(
    correlation: Float[Tensor, "dim dim"], rank: int, sweeps: int = 50
) -> tuple[Float[Tensor, " dim"], Float[Tensor, "dim rank"]]:
    r"""Maximum likelihood factor analysis, :math:`R = D^2 + UU^\top`.

    Returns the unique standard deviations D and the loadings U. Given D, the best U is spanned by
    the leading eigenvectors of :math:`D^{-1}RD^{-1}`; given U, D follows from the diagonal (Lawley
    1940; Joreskog 1967).
    """
    unique = torch.full_like(correlation.diagonal(), 0.5)
    columns = correlation.new_zeros(len(unique), rank)
    for _ in range(sweeps):
        root = unique.sqrt()
        values, vectors = torch.linalg.eigh(correlation / root[:, None] / root)
        gains = (values[-rank:] - 1).clamp(min=0).sqrt()
        columns = root[:, None] * vectors[:, -rank:] * gains
        before = unique
        unique = (correlation.diagonal() - columns.square().sum(-1)).clamp(min=1e-3)
        if (unique - before).abs().max() < 1e-5:
            break
    return unique.sqrt(), columns
