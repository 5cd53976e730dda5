r"""Spearman's rank correlation with errors over documents, and Kendall's tau.

Standard errors resample whole documents, not tokens. In a replicate each row counts as often as
its document is drawn and ranks are recomputed, which gives exactly Spearman's correlation of the
resampled rows. The interval is :math:`\tanh(\mathrm{artanh}\,\rho \pm q\,s)`, where s is the
bootstrap standard deviation of :math:`\mathrm{artanh}\,\rho` (Fisher's transformation) and q is
Student's quantile.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.estimation.ratio import FEWEST
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.student import student
from sdelens.seeds import generator

NUMBERS = 2**22
"""Maximum number of values per chunk of replicates."""
ENDS = 1 - 1e-6
"""Bound on absolute correlations before Fisher's transformation, which is infinite at one."""


@dataclass(frozen=True)
class Correlation:
    """Rank correlation with its standard error over documents; NaN if it is undefined."""

    value: float
    stderr: float
    spread: float
    """Standard error of the Fisher-transformed correlation."""
    documents: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided interval; NaN from fewer than `FEWEST` documents."""
        if self.documents < FEWEST or not math.isfinite(self.spread):
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
    """Spearman's correlation of the finite rows; `unit` is the document of each row.

    With `held`, it is the partial correlation: that of the residuals of both ranks after linear
    regression on the ranks of `held`.
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
    # the variance about the sample mean is too small by the factor (n - 1)/n
    wider = math.sqrt(documents / (documents - 1))
    transformed = drawn.clamp(-ENDS, ENDS).atanh()
    return Correlation(
        value, wider * float(drawn.std()), wider * float(transformed.std()), documents
    )


def weighted_spearman(
    columns: list[Float[Tensor, " row"]], weights: Float[Tensor, "replicate row"]
) -> Float[Tensor, " replicate"]:
    """Rank correlation of the first two columns, partial given the third if there is one."""
    ranks = [weighted_ranks(column, weights) for column in columns]
    found = _pearson(ranks[0], ranks[1], weights)
    if len(ranks) < 3:
        return found
    # a constant control variable has no correlation with the others
    xz, yz = (_pearson(rank, ranks[2], weights).nan_to_num() for rank in ranks[:2])
    left = (1 - xz.square()) * (1 - yz.square())
    return (found - xz * yz) / left.clamp(min=0).sqrt()


def weighted_ranks(
    values: Float[Tensor, " row"], weights: Float[Tensor, "replicate row"]
) -> Float[Tensor, "replicate row"]:
    """Midranks, up to a shift, of rows repeated as often as their weights."""
    # scipy.stats.rankdata does not support weights; repeating rows is ten times slower
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
    """Two-sided permutation p-value of a rank correlation, with one row per document.

    With `held`, the test permutes the residuals of the ranks of x after regression on the ranks of
    `held` (Freedman and Lane 1983). The observed order counts as one of the permutations, which
    makes the p-value valid for any number of them (Phipson and Smyth 2010).
    """
    # scipy.stats.permutation_test permutes observations, not residuals
    columns = [column.double().cpu() for column in (x, y, *([] if held is None else [held]))]
    seen = torch.stack(columns).isfinite().all(0)
    one = torch.ones(1, int(seen.sum()), dtype=torch.float64)
    ranks = [weighted_ranks(column[seen], one)[0] for column in columns]
    first, second = (_left(rank, ranks[2:]) for rank in ranks[:2])
    if len(first) < 3 or not float(first.norm()) or not float(second.norm()):
        return math.nan
    keys = torch.rand(permutations, len(first), generator=generator(seed, "permute"))
    drawn = first[keys.argsort(1)]
    if held is not None:  # permuted residuals may correlate with the control variable again
        drawn = _left(drawn, ranks[2:])
    size = drawn @ second / drawn.norm(dim=1)
    # tolerance for rounding: a permutation equal to the observed order must count
    observed = (first @ second / first.norm()).abs() * (1 - 1e-9)
    return (1 + int((size.abs() >= observed).sum())) / (1 + permutations)


def _left(ranks: Float[Tensor, "*batch row"], held: list[Tensor]) -> Float[Tensor, "*batch row"]:
    """Residuals of ranks after removing the mean and the projection on the control variables."""
    left = ranks - ranks.mean(-1, keepdim=True)
    for other in held:
        axis = other - other.mean()
        if float(axis.norm()):
            left = left - (left @ axis)[..., None] * axis / axis.square().sum()
    # set residuals at the level of rounding errors to zero
    return left.where(left.norm(dim=-1, keepdim=True) > 1e-9 * ranks.norm(dim=-1, keepdim=True), 0)


def holm(chances: list[float]) -> list[float]:
    """P-values with Holm's (1979) correction, which controls the family-wise error rate.

    NaN values are kept and not counted.

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
"""Maximum number of pairs of items per chunk of permutations."""


def kendall(
    first: Float[Tensor, "*batch item"],
    second: Float[Tensor, "*batch item"],
    seen: Bool[Tensor, "*batch item"],
) -> Float[Tensor, "*batch"]:
    r"""Kendall's :math:`\tau_b` (1945) over the items `seen`; NaN if all items of a ranking tie.

    It is the number of concordant minus the number of discordant pairs, divided by
    :math:`\sqrt{n_1 n_2}`, where :math:`n_i` is the number of pairs not tied in ranking i.
    """
    # scipy.stats.kendalltau takes one pair of rankings at a time: six times slower for a batch
    one, other = _orders(first, seen), _orders(second, seen)
    pairs = (one != 0).sum((-2, -1)) * (other != 0).sum((-2, -1))
    agreed: Tensor = (one * other).sum((-2, -1)) / pairs.double().sqrt()
    return agreed


def _orders(
    values: Float[Tensor, "*batch item"], seen: Bool[Tensor, "*batch item"]
) -> Float[Tensor, "*batch item item"]:
    """Order of each pair of items: 1, 0 or -1; 0 for pairs not seen."""
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
    """Mean of tau over texts, in draws that shuffle the first ranking within each text."""
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
    """Random permutations of the seen items of each text, which come first."""
    keys = torch.rand(seen.shape, generator=random)
    return keys.masked_fill(~seen, 2.0).argsort(dim=-1)


def chance_of(value: float, draws: Float[Tensor, " draw"]) -> float:
    """Two-sided p-value of a mean tau among shuffled ones; the observed order counts as one."""
    return float((1 + (draws.abs() >= abs(value)).sum()) / (1 + len(draws)))
