r"""How well a score tells texts of two kinds apart: the area under the ROC curve.

It is :math:`P(U > V) + \tfrac12 P(U = V)` for the score U of an unlike text and V of a usual one:
one half is chance. For two normals it is :math:`\Phi(\Delta/\sqrt{s_U^2 + s_V^2})`. Errors
resample whole documents; texts that were made from the same document are drawn together.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.bootstrap import Bootstrap, expanded
from sdelens.evidence.interval import Interval


@dataclass(frozen=True, eq=False)
class Scores:
    """One score for each document, and how often each replicate draws it."""

    values: Float[Tensor, " document"]
    weights: Float[Tensor, "replicate document"]

    @property
    def documents(self) -> int:
        """How many there are."""
        return len(self.values)


def auroc(usual: Scores, unlike: Scores) -> Float[Tensor, " replicate"]:
    """The area in each replicate; the first is that of the documents as they are.

    Put `as_they_are` over the weights for that.
    """
    # scipy.stats.mannwhitneyu counts each document once, where replicates weight them
    above = (unlike.values[:, None] > usual.values).double()
    above += (unlike.values[:, None] == usual.values).double() / 2
    pairs = unlike.weights.sum(1) * usual.weights.sum(1)
    return ((unlike.weights @ above) * usual.weights).sum(1) / pairs


def as_they_are(bootstrap: Bootstrap) -> Float[Tensor, "replicate document"]:
    """The weights of a bootstrap below a row in which each document counts once."""
    once = (bootstrap.weights.sum(0, keepdim=True) > 0).double()
    return torch.cat([once, bootstrap.weights])


def interval(
    areas: Float[Tensor, " replicate"], documents: int, *, least: float = 0.0
) -> Interval:
    """The area of the first row, with the spread and the middle 95% of the others.

    The tails are those at which a normal interval is as long as Student's (as `Bootstrap.ratio`).
    Where no pair is out of order the bootstrap has no spread. The interval is then that of the
    rule of three: with n documents and no failure, failures are fewer than 3/n with confidence
    95%. `least` is the lower end of the scale: -1 for a difference of areas.
    """
    value, drawn, n = areas[0], areas[1:], documents
    if n < 2:
        return Interval.unknown(value)
    spread, low, high = (each[0] for each in expanded(drawn[None], n))
    if spread == 0:
        low, high = value - 3 / n, value + 3 / n
    return Interval(value, spread, low.clamp(min=least), high.clamp(max=1))
