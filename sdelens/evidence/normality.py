"""How far series of numbers are from standard normal, from counts that do not grow with them."""

import math
from dataclasses import dataclass, field

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.residuals import FARTHEST

BINS = 1600
"""A hundred to the unit: the distance is too small by at most .002 of a smooth distribution."""


@dataclass
class NormalScores:
    """Counts of each series in narrow bins from -8 to 8; what lies further out is in the last."""

    series: int
    counts: Float[Tensor, "series bin"] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = torch.zeros(self.series, BINS, dtype=torch.float64)

    def add(self, scores: Float[Tensor, "batch series"]) -> None:
        """Count further numbers of every series."""
        place = (scores + FARTHEST) * (BINS / (2 * FARTHEST))
        rows = torch.arange(self.series, device=scores.device) * BINS
        index = place.floor().long().clamp(0, BINS - 1) + rows
        found = torch.bincount(index.flatten(), minlength=self.counts.numel())
        self.counts += rearrange(found, "(series bin) -> series bin", bin=BINS).cpu()

    @property
    def count(self) -> int:
        """How many numbers each series has."""
        return int(self.counts[0].sum())

    @property
    def below(self) -> Float[Tensor, "series edge"]:
        """The share of each series below every edge, the first and the last included."""
        shares = self.counts.cumsum(-1) / self.count
        return torch.cat([torch.zeros_like(shares[:, :1]), shares], dim=-1)

    def distance(self) -> Float[Tensor, " series"]:
        r"""Kolmogorov's distance :math:`\sup_z|F_n(z)-\Phi(z)|`, between 0 and 1."""
        # scipy.stats.kstest needs all numbers at once; here only their counts are kept
        normal: Tensor = torch.special.ndtr(_edges())
        return (self.below - normal)[:, 1:-1].abs().amax(-1)

    def quantiles(self, shares: Float[Tensor, " share"]) -> Float[Tensor, "series share"]:
        """Quantiles at shares between 0 and 1, linear within a bin."""
        below, edges = self.below, _edges()
        wanted = shares.to(below).expand(self.series, -1).contiguous()
        right = torch.searchsorted(below, wanted).clamp(1, BINS)
        low, high = below.gather(1, right - 1), below.gather(1, right)
        part = (wanted - low) / (high - low).clamp(min=1e-300)
        return edges[right - 1] + part * (edges[right] - edges[right - 1])

    def moment(self, power: int) -> Float[Tensor, " series"]:
        """The mean of a power of each series' numbers, those further out than 8 as 8."""
        edges = _edges()
        return self.counts @ ((edges[1:] + edges[:-1]) / 2).pow(power) / self.count


def _edges() -> Float[Tensor, " edge"]:
    return torch.linspace(-FARTHEST, FARTHEST, BINS + 1, dtype=torch.float64)


def expected_distance(count: int) -> float:
    r"""The mean of Kolmogorov's distance of that many independent numbers of the true law.

    :math:`\sqrt{\pi/2}\,\log 2/\sqrt n` (Kolmogorov 1933): a distance is not read below it.
    """
    return math.sqrt(math.pi / 2) * math.log(2) / math.sqrt(max(count, 1))
