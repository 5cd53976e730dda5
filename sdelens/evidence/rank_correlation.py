r"""Spearman's rank correlation, whose sample size is documents and not tokens.

The error resamples whole documents: in a replicate each row counts as often as its document was
drawn, and ranks are taken anew, so that it is exactly Spearman's correlation of the resampled
rows. The interval is :math:`\tanh(\mathrm{artanh}\,\rho \pm q\,s)`, with s the bootstrap deviation
of :math:`\mathrm{artanh}\,\rho` (Fisher's transformation) and q Student's quantile.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.student import student
from sdelens.seeds import generator

NUMBERS = 2**22
"""Numbers that are worked on together: replicates are taken in chunks of that size."""
ENDS = 1 - 1e-6
"""Correlations nearer to one than this count as this: Fisher's transformation ends there."""


@dataclass(frozen=True)
class Correlation:
    """A rank correlation with its error over documents; NaN where it cannot be had."""

    value: float
    stderr: float
    spread: float
    """The standard error of its Fisher transform."""
    documents: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The two-sided interval."""
        if self.documents < 4 or not math.isfinite(self.spread):
            return math.nan, math.nan
        margin = student((1 + level) / 2, self.documents) * self.spread
        centre = math.atanh(min(max(self.value, -ENDS), ENDS))
        return math.tanh(centre - margin), math.tanh(centre + margin)


def rank_correlation(
    x: Float[Tensor, " row"],
    y: Float[Tensor, " row"],
    unit: Int[Tensor, " row"],
    *,
    seed: int,
    held: Float[Tensor, " row"] | None = None,
    replicates: int = 1000,
) -> Correlation:
    """Of the rows where both are finite; `unit` numbers the document of each.

    With `held` it is the partial correlation: of what is left of both ranks when the part that is
    linear in the ranks of `held` is taken out.
    """
    columns = [column.double().cpu() for column in (x, y, *([] if held is None else [held]))]
    seen = torch.stack(columns).isfinite().all(0)
    columns = [column[seen] for column in columns]
    own = unit.cpu()[seen]
    count = torch.bincount(own, minlength=1).double()
    documents = int((count > 0).sum())
    if documents < 2:
        return Correlation(math.nan, math.nan, math.nan, documents)
    value = float(weighted_spearman(columns, torch.ones(1, len(own), dtype=torch.float64)))
    if math.isnan(value):
        return Correlation(value, value, value, documents)
    weights = Bootstrap.of(count, seed=seed, replicates=replicates).weights
    drawn = torch.cat(
        [
            weighted_spearman(columns, part[:, own])
            for part in torch.split(weights, max(1, NUMBERS // len(own)))
        ]
    )
    drawn = drawn[drawn.isfinite()]
    # a sample of n documents varies by the factor (n - 1)/n less about its own mean
    wider = math.sqrt(documents / (documents - 1))
    transformed = drawn.clamp(-ENDS, ENDS).atanh()
    return Correlation(
        value, wider * float(drawn.std()), wider * float(transformed.std()), documents
    )


def weighted_spearman(
    columns: list[Float[Tensor, " row"]], weights: Float[Tensor, "replicate row"]
) -> Float[Tensor, " replicate"]:
    """The rank correlation of the first two columns, partial where there is a third."""
    ranks = [weighted_ranks(column, weights) for column in columns]
    found = _pearson(ranks[0], ranks[1], weights)
    if len(ranks) < 3:
        return found
    # what is held may not vary at all, and then takes nothing away
    xz, yz = (_pearson(rank, ranks[2], weights).nan_to_num() for rank in ranks[:2])
    left = (1 - xz.square()) * (1 - yz.square())
    return (found - xz * yz) / left.clamp(min=0).sqrt()


def weighted_ranks(
    values: Float[Tensor, " row"], weights: Float[Tensor, "replicate row"]
) -> Float[Tensor, "replicate row"]:
    """Midranks, up to a shift, of rows that occur as often as their weights say."""
    # scipy.stats.rankdata takes no weights; repeating rows for it is ten times slower
    distinct, place = torch.unique(values, return_inverse=True)
    mass = weights.new_zeros(len(weights), len(distinct)).index_add_(1, place, weights)
    return (mass.cumsum(1) - mass / 2)[:, place]


def _pearson(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    total = weights.sum(1, keepdim=True)
    x, y = (rank - (weights * rank).sum(1, keepdim=True) / total for rank in (x, y))
    product = (weights * x * y).sum(1)
    found: Tensor = product / ((weights * x * x).sum(1) * (weights * y * y).sum(1)).sqrt()
    return found


def chance(
    x: Float[Tensor, " row"],
    y: Float[Tensor, " row"],
    *,
    seed: int,
    held: Float[Tensor, " row"] | None = None,
    permutations: int = 9999,
) -> float:
    """The two-sided p-value of a rank correlation of one row for each document, by permutation.

    With `held`, what is permuted is what is left of the ranks of x when those of `held` are taken
    out (Freedman and Lane 1983). The observed order counts as one of the permutations, so that the
    p-value is valid for any number of them (Phipson and Smyth 2010).
    """
    # scipy.stats.permutation_test permutes the observations, not what is left of them
    columns = [column.double().cpu() for column in (x, y, *([] if held is None else [held]))]
    seen = torch.stack(columns).isfinite().all(0)
    one = torch.ones(1, int(seen.sum()), dtype=torch.float64)
    ranks = [weighted_ranks(column[seen], one)[0] for column in columns]
    first, second = (_left(rank, ranks[2:]) for rank in ranks[:2])
    if len(first) < 3 or not float(first.norm()) or not float(second.norm()):
        return math.nan
    keys = torch.rand(permutations, len(first), generator=generator(seed, "permute"))
    drawn = first[keys.argsort(1)]
    if held is not None:  # a permuted remainder is not free of what is held any more
        drawn = _left(drawn, ranks[2:])
    size = drawn @ second / drawn.norm(dim=1)
    # rounding must not make a permutation that equals the observed order smaller than it
    observed = (first @ second / first.norm()).abs() * (1 - 1e-9)
    return (1 + int((size.abs() >= observed).sum())) / (1 + permutations)


def _left(ranks: Float[Tensor, "*batch row"], held: list[Tensor]) -> Float[Tensor, "*batch row"]:
    """What is left without the mean and the part along what is held."""
    left = ranks - ranks.mean(-1, keepdim=True)
    for other in held:
        axis = other - other.mean()
        if float(axis.norm()):
            left = left - (left @ axis)[..., None] * axis / axis.square().sum()
    # what is nothing but rounding is nothing
    return left.where(left.norm(dim=-1, keepdim=True) > 1e-9 * ranks.norm(dim=-1, keepdim=True), 0)


def holm(chances: list[float]) -> list[float]:
    """Holm's corrected p-values: together they err no more often than one by itself (1979).

    NaN stays NaN, and is not counted.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    # scipy.stats.false_discovery_control corrects for Benjamini and Hochberg's rate alone
    known = sorted((p, i) for i, p in enumerate(chances) if math.isfinite(p))
    found, least = [math.nan] * len(chances), 0.0
    for place, (p, i) in enumerate(known):
        least = max(least, min(1.0, (len(known) - place) * p))
        found[i] = least
    return found


PAIRS = 4_000_000
"""Pairs of items that are compared together."""


def kendall(
    first: Float[Tensor, "*batch item"],
    second: Float[Tensor, "*batch item"],
    seen: Bool[Tensor, "*batch item"],
) -> Float[Tensor, "*batch"]:
    r"""Kendall's :math:`\tau_b` (1945) over the items seen; NaN where one ranking has no order.

    The number of pairs in the same order less that of pairs in opposite order, over
    :math:`\sqrt{n_1 n_2}`, the pairs that are no ties in each.
    """
    # scipy.stats.kendalltau takes one pair of rankings at a time: six times slower for a batch
    one, other = _orders(first, seen), _orders(second, seen)
    pairs = (one != 0).sum((-2, -1)) * (other != 0).sum((-2, -1))
    agreed: Tensor = (one * other).sum((-2, -1)) / pairs.double().sqrt()
    return agreed


def _orders(
    values: Float[Tensor, "*batch item"], seen: Bool[Tensor, "*batch item"]
) -> Float[Tensor, "*batch item item"]:
    """1, 0 or -1 for each pair of items seen."""
    both = seen[..., :, None] & seen[..., None, :]
    signs = (values[..., :, None] - values[..., None, :]).double().sign()
    return signs.masked_fill(~both, 0.0)


def by_chance(
    first: Float[Tensor, "text item"],
    second: Float[Tensor, "text item"],
    seen: Bool[Tensor, "text item"],
    *,
    draws: int,
    seed: int,
) -> Float[Tensor, " draw"]:
    """The mean of tau over texts when the first ranking is shuffled within each text."""
    left = seen.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    first, second, seen = (values.gather(1, left) for values in (first, second, seen))
    random = generator(seed, "permutations")
    together = max(1, PAIRS // (seen.numel() * seen.shape[1]))
    found = []
    for start in range(0, draws, together):
        count = min(together, draws - start)
        order = _shuffled(seen.expand(count, *seen.shape), random)
        moved = first.expand(order.shape).gather(-1, order)
        found.append(kendall(moved, second.expand(order.shape), seen.expand(order.shape)))
    return torch.cat(found).nanmean(-1)


def _shuffled(
    seen: Bool[Tensor, "draw text item"], random: torch.Generator
) -> Int[Tensor, "draw text item"]:
    """Orders of the items, those seen (which come first) among themselves."""
    keys = torch.rand(seen.shape, generator=random)
    return keys.masked_fill(~seen, 2.0).argsort(dim=-1)


def chance_of(value: float, draws: Float[Tensor, " draw"]) -> float:
    """The two-sided p-value of a mean tau among shuffled ones, the own order counted as one."""
    return float((1 + (draws.abs() >= abs(value)).sum()) / (1 + len(draws)))
