"""Bootstrap intervals over documents, for quantiles and functions of sums."""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.estimation.ratio import FEWEST
from sdelens.evidence.interval import Interval
from sdelens.evidence.student import student
from sdelens.seeds import generator


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Bootstrap over documents. All estimates share the same draws.

    `weights` counts how often each replicate draws each document.
    """

    weights: Float[Tensor, "replicate document"]
    documents: int
    """Number of documents that can be drawn: the effective sample size."""

    @classmethod
    def of(
        cls, counts: Float[Tensor, " document"], *, seed: int, replicates: int = 2000
    ) -> "Bootstrap":
        """Draw, with replacement, from the documents with a nonzero count."""
        # scipy.stats.bootstrap does not expose its draws, which all estimates share here
        seen = counts.nonzero()[:, 0]
        random = generator(seed, "bootstrap")
        drawn = torch.randint(len(seen), (replicates, len(seen)), generator=random)
        weights = torch.zeros(replicates, len(counts), dtype=torch.float64)
        weights.scatter_add_(1, seen[drawn], torch.ones_like(drawn, dtype=torch.float64))
        return cls(weights, len(seen))

    def quantile(
        self, values: Float[Tensor, "*series row"], unit: Int[Tensor, " row"], share: float
    ) -> Interval:
        """Interval for a quantile over rows, for each series.

        The quantile inverts the empirical distribution function at `share`; `unit` is the document
        of each row. Documents without rows are not counted, and replicates that draw no document
        with rows are ignored.
        """
        ordered, order = values.sort(dim=-1)
        drawn_rows = self.weights[:, unit][:, order]
        heights = rearrange(drawn_rows, "replicate ... row -> ... replicate row").cumsum(-1)
        drawn = _inverted(ordered[..., None, :].expand(heights.shape), heights, share)
        every = torch.ones_like(ordered).cumsum(-1)[..., None, :]
        value = _inverted(ordered[..., None, :], every, share)[..., 0]
        seen = torch.full(value.shape, len(torch.unique(unit)))
        return self.interval(value, drawn.where(heights[..., -1] > 0, math.nan), seen)

    def interval(
        self,
        value: Float[Tensor, "*series"],
        drawn: Float[Tensor, "*series replicate"],
        documents: Int[Tensor, "*series"] | None = None,
    ) -> Interval:
        """Expanded percentile interval of an estimate, from its value in each replicate.

        The tail probabilities are those at which a normal interval is as long as Student's, which
        matters with few documents (Hesterberg, "What teachers should know about the bootstrap",
        2015). `documents` is the sample size of each series, by default that of the bootstrap;
        below `FEWEST` there are no ends. Ratios of sums have intervals of better coverage by
        `Interval.ratio`.
        """
        counts = torch.full(value.shape, self.documents) if documents is None else documents
        found = [torch.full_like(value, math.nan) for _ in range(3)]
        for n in torch.unique(counts).tolist():
            if n > 1:
                ends = expanded(drawn[counts == n], n)
                for whole, part in zip(found, ends[: 3 if n >= FEWEST else 1], strict=False):
                    whole[counts == n] = part
        return Interval(value, *found)


def _inverted(
    ordered: Float[Tensor, "*series replicate row"],
    heights: Float[Tensor, "*series replicate row"],
    share: float,
) -> Float[Tensor, "*series replicate"]:
    """First value at which the cumulative weight `heights` reaches `share` of the total."""
    # numpy.quantile does not support different weights for each replicate of the same values
    place = (heights < share * heights[..., -1:] - 1e-9).sum(-1, keepdim=True)
    return ordered.gather(-1, place)[..., 0]


def expanded(
    drawn: Float[Tensor, "series replicate"], n: int
) -> tuple[Float[Tensor, " series"], Float[Tensor, " series"], Float[Tensor, " series"]]:
    """Standard errors and ends of expanded percentile intervals from draws of n documents."""
    tail = 0.5 * math.erfc(math.sqrt(n / (n - 1)) * student(0.975, n) / math.sqrt(2))
    shares = torch.tensor([tail, 1 - tail], dtype=drawn.dtype)
    low, high = drawn.nanquantile(shares, dim=-1)
    spread = (drawn - drawn.nanmean(-1, keepdim=True)).square().nanmean(-1).sqrt()
    return spread * math.sqrt(n / (n - 1)), low, high


def by_unit(
    values: Float[Tensor, "*series row"], unit: Int[Tensor, " row"], units: int
) -> Float[Tensor, "*series unit"]:
    """Sums of values by unit; a unit is a document or a position in a document."""
    sums = torch.zeros(*values.shape[:-1], units, dtype=torch.float64)
    return sums.index_add_(-1, unit.cpu(), values.double().cpu())
