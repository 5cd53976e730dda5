"""Distance of scores from a standard normal distribution, from binned counts."""

import math
from dataclasses import dataclass, field

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.residuals import FARTHEST

BINS = 1600
"""One hundred bins per unit: for a smooth distribution, binning lowers the distance by at most
0.002."""


@dataclass
class NormalScores:
    """Histograms of series in narrow bins from -8 to 8; the outer bins include values beyond."""

    series: int
    counts: Float[Tensor, "series bin"] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = torch.zeros(self.series, BINS, dtype=torch.float64)

    def add(self, scores: Float[Tensor, "batch series"]) -> None:
        """Add scores of every series to the counts."""
        place = (scores + FARTHEST) * (BINS / (2 * FARTHEST))
        rows = torch.arange(self.series, device=scores.device) * BINS
        index = place.floor().long().clamp(0, BINS - 1) + rows
        found = torch.bincount(index.flatten(), minlength=self.counts.numel())
        self.counts += rearrange(found, "(series bin) -> series bin", bin=BINS).cpu()

    @property
    def count(self) -> int:
        """Number of scores per series."""
        return int(self.counts[0].sum())

    @property
    def below(self) -> Float[Tensor, "series edge"]:
        """Share of each series below each bin edge, including the first and the last."""
        shares = self.counts.cumsum(-1) / self.count
        return torch.cat([torch.zeros_like(shares[:, :1]), shares], dim=-1)

    def distance(self) -> Float[Tensor, " series"]:
        r"""Kolmogorov-Smirnov distance :math:`\sup_z|F_n(z)-\Phi(z)|`, between 0 and 1."""
        # scipy.stats.kstest needs all values in memory
        normal: Tensor = torch.special.ndtr(_edges())
        return (self.below - normal)[:, 1:-1].abs().amax(-1)

    def quantiles(self, shares: Float[Tensor, " share"]) -> Float[Tensor, "series share"]:
        """Quantiles at shares between 0 and 1, interpolated linearly within a bin."""
        below, edges = self.below, _edges()
        wanted = shares.to(below).expand(self.series, -1).contiguous()
        right = torch.searchsorted(below, wanted).clamp(1, BINS)
        low, high = below.gather(1, right - 1), below.gather(1, right)
        part = (wanted - low) / (high - low).clamp(min=1e-300)
        return edges[right - 1] + part * (edges[right] - edges[right - 1])

    def moment(self, power: int) -> Float[Tensor, " series"]:
        """Mean of a power of the scores of each series, clamped to [-8, 8]."""
        edges = _edges()
        return self.counts @ ((edges[1:] + edges[:-1]) / 2).pow(power) / self.count


def _edges() -> Float[Tensor, " edge"]:
    return torch.linspace(-FARTHEST, FARTHEST, BINS + 1, dtype=torch.float64)


def expected_distance(count: int) -> float:
    r"""Expected Kolmogorov-Smirnov distance of `count` independent draws from the true law.

    It is :math:`\sqrt{\pi/2}\,\log 2/\sqrt n` (Kolmogorov 1933). Smaller distances are not
    evidence of a difference.
    """
    return math.sqrt(math.pi / 2) * math.log(2) / math.sqrt(max(count, 1))
