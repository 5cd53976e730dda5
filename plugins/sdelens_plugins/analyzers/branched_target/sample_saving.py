r"""Sample savings from training on branched transitions, read off learning curves.

A mean fitted to n transitions has an excess error in proportion to the variance of its targets
about it: :math:`S+R`, with S the sampling noise, :math:`E\,\mathrm{tr}\,S^*`, and R the part of
the motion of m\* that the law does not explain; with B branches it is :math:`S/B+R`. One branched
transition is worth :math:`(S+R)/(S/B+R)` plain ones, and :math:`1+S/R` at most.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.interval import Interval
from sdelens.seeds import generator
from sdelens_plugins.analyzers.branched_target.training_sets import (
    BRANCHED,
    REPEATS,
    SIZES,
    TrainingSet,
)

FARTHEST = 4
"""Learning curves are extrapolated to at most so many times all training documents."""
MAX_UNDEFINED = 0.025
"""The largest share of replicates whose learning curve may not fall."""


def largest(part: int) -> int:
    """The largest saving that can be read for a set of one in `part` of the documents."""
    return FARTHEST * part


@dataclass(frozen=True, eq=False)
class LearningCurves:
    """Held-out losses by size of the training set, for plain and for branched transitions."""

    plain: Float[Tensor, "*replicate size"]
    branched: Float[Tensor, "*replicate branched_size"]

    @classmethod
    def of(
        cls,
        losses: Mapping[TrainingSet, Float[Tensor, "*replicate"]],
        weights: Mapping[int, Float[Tensor, "*replicate set"]] | None = None,
    ) -> "LearningCurves":
        """Means over the training sets of each size, weighted if weights are given."""

        def mean(target: str, part: int) -> Tensor:
            sets = [loss for k, loss in losses.items() if (k.target, k.part) == (target, part)]
            stacked = torch.stack(sets, -1)
            return stacked.mean(-1) if weights is None else (stacked * weights[part]).sum(-1)

        return cls(
            torch.stack([mean("plain", part) for part in SIZES], -1),
            torch.stack([mean("branched", part) for part in BRANCHED], -1),
        )

    def saving(self) -> Float[Tensor, "*replicate branched_size"]:
        r"""The ratio of plain to branched transitions at equal loss, for each branched size.

        The loss is interpolated linearly in 1/n between neighbouring sizes, as an excess error is,
        and extrapolated beyond the first and the last, up to `FARTHEST` times all documents: the
        saving from n documents is read up to `largest`. It is NaN where the loss does not fall
        with more documents.
        """
        inverse = torch.tensor([1.0 * part for part in SIZES], dtype=self.plain.dtype)
        savings = [
            part / _inverse_size(self.plain, inverse, self.branched[..., number])
            for number, part in enumerate(BRANCHED)
        ]
        return torch.stack(savings, -1)


def _inverse_size(
    loss: Float[Tensor, "*replicate size"],
    inverse: Float[Tensor, " size"],
    target: Float[Tensor, "*replicate"],
) -> Float[Tensor, "*replicate"]:
    """The 1/n at which the curve reaches the target loss, at least 1 / `FARTHEST`."""
    above = (loss[..., 1:-1] > target[..., None]).sum(-1)
    low, high = (loss.gather(-1, (above + k)[..., None])[..., 0] for k in (1, 0))
    at, before = inverse[above + 1], inverse[above]
    share = (target - low) / (high - low).where(high > low, torch.nan)
    crossing: Tensor = (at + share * (before - at)).clamp(min=1 / FARTHEST)
    return crossing


def expected_saving(noise: float, unexplained: float, branches: int | float) -> float:
    """The saving (S + R) / (S / B + R) by theory, for a loss whose excess is the error of a mean.

    >>> round(expected_saving(0.34, 0.155, math.inf), 1)
    3.2
    """
    branched = unexplained + noise / branches
    return (noise + unexplained) / branched if branched > 0 else math.inf


def savings(
    losses: Mapping[TrainingSet, Float[Tensor, " unit"]],
    count: Float[Tensor, " unit"],
    bootstrap: Bootstrap,
    *,
    seed: int,
) -> tuple[LearningCurves, Interval]:
    """Learning curves and savings, with errors over held-out and training documents.

    Held-out documents are resampled, and so are the quarters of the training documents with all
    sets that they contain (`set_weights`). Without errors where more than `MAX_UNDEFINED` of the
    replicates have a curve that does not fall.
    """
    total = {each: sums.sum() / count.sum() for each, sums in losses.items()}
    counts = bootstrap.weights @ count
    drawn = {each: (bootstrap.weights @ sums) / counts for each, sums in losses.items()}
    random = generator(seed, "sets")
    weights = set_weights(len(bootstrap.weights), random)
    curves, replicates = LearningCurves.of(total), LearningCurves.of(drawn, weights).saving().mT
    saving = bootstrap.interval(curves.saving(), replicates)
    # where the curve often does not fall, the other replicates are not a sample of the saving
    known = replicates.isnan().double().mean(-1) <= MAX_UNDEFINED
    unknown = Interval.unknown(saving.value)
    pairs = zip(saving.tensors().values(), unknown.tensors().values(), strict=True)
    return curves, Interval(*(end.where(known, nothing) for end, nothing in pairs))


def set_weights(
    replicates: int, random: torch.Generator
) -> dict[int, Float[Tensor, "replicate set"]]:
    """The weights of the training sets of each size in each bootstrap replicate.

    A larger set consists of smaller ones, and their losses rise and fall together. Hence quarters
    of the documents are drawn, and each set has the weight of its quarters: an eighth that of the
    quarter that contains it, a half the sum of two. A sum of weights of n sets has a variance of
    (n - 1) / (n^2 R), with R quarters; it is widened to 1 / n^2, which makes the variance of a
    mean unbiased.
    """
    drawn = torch.randint(REPEATS, (replicates, REPEATS), generator=random)
    counts = torch.zeros(replicates, REPEATS, dtype=torch.float64)
    counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
    away = counts / REPEATS - 1 / REPEATS
    weights = {}
    for part in SIZES:
        sets = min(part, REPEATS)
        # quarter q is in the half q mod 2, as in `TrainingSet.of`
        own = away.view(replicates, REPEATS // sets, sets).sum(1)
        weights[part] = 1 / sets + own * math.sqrt(REPEATS / max(sets - 1, 1))
    return weights
