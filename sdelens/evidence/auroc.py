r"""Area under the ROC curve of a score that separates two kinds of texts.

It is :math:`P(U > V) + \tfrac12 P(U = V)` for the score U of an unusual text and V of a usual
one; chance level is one half. For two normal distributions it is
:math:`\Phi(\Delta/\sqrt{s_U^2 + s_V^2})`. Standard errors resample whole documents; texts derived
from the same document are drawn together.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.bootstrap import Bootstrap, expanded
from sdelens.evidence.interval import Interval


@dataclass(frozen=True, eq=False)
class Scores:
    """Score of each document, and how often each replicate draws the document."""

    values: Float[Tensor, " document"]
    weights: Float[Tensor, "replicate document"]

    @property
    def documents(self) -> int:
        """Number of documents."""
        return len(self.values)


def auroc(usual: Scores, unlike: Scores) -> Float[Tensor, " replicate"]:
    """Area under the ROC curve in each replicate.

    With weights from `as_they_are`, the first replicate is the original sample.
    """
    # scipy.stats.mannwhitneyu does not support the weights of the replicates
    above = (unlike.values[:, None] > usual.values).double()
    above += (unlike.values[:, None] == usual.values).double() / 2
    pairs = unlike.weights.sum(1) * usual.weights.sum(1)
    return ((unlike.weights @ above) * usual.weights).sum(1) / pairs


def as_they_are(bootstrap: Bootstrap) -> Float[Tensor, "replicate document"]:
    """Bootstrap weights, preceded by a row in which each document counts once."""
    once = (bootstrap.weights.sum(0, keepdim=True) > 0).double()
    return torch.cat([once, bootstrap.weights])


def interval(
    areas: Float[Tensor, " replicate"], documents: int, *, least: float = 0.0
) -> Interval:
    """Area of the original sample, with an expanded percentile interval from the replicates.

    `areas` starts with the original sample. The tail probabilities are as in
    `Bootstrap.interval`. If every pair is ordered correctly, the bootstrap has no spread and the
    interval is that of the rule of three: after n documents without a failure, the failure rate is
    below 3/n with 95% confidence. `least` is the lower end of the scale: -1 for a difference of
    areas. From fewer than `FEWEST` documents there are no ends.
    """
    value, drawn, n = areas[0], areas[1:], documents
    if n < 2:
        return Interval.unknown(value)
    spread, low, high = (each[0] for each in expanded(drawn[None], n))
    if spread == 0:
        low, high = value - 3 / n, value + 3 / n
    return Interval(value, spread, low.clamp(min=least), high.clamp(max=1)).over(n)
