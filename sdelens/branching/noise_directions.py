r"""Principal directions of the next state's noise: of the model and of a fit.

With m the mean of the fit and y a draw of the model's next state,
:math:`E[(y-m)(y-m)^\top]=S^*+(m^*-m)(m^*-m)^\top`, which needs no correction for the number of
branches. A state-dependent covariance of the fit is averaged over samples of its noise.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.branching.next_state_moments import NextStateMoments, scatter
from sdelens.evidence.interval import Interval
from sdelens.laws.law import Predictive
from sdelens.seeds import derive

FOLDS = 6
"""Folds of documents for the jackknife."""
DRAWS = 4
"""Samples of the fit's noise at each state, if the noise depends on the state."""
KINDS = ("sampler", "total", "fitted")


Function = Callable[[Float[Tensor, "kind latent latent"]], Float[Tensor, ""]]


class NoiseDirections:
    """Sums of outer products over prefixes, in training-standardised coordinates."""

    def __init__(self, weights: Float[Tensor, " latent"]) -> None:
        self.root = weights.sqrt()
        wide = (len(KINDS), FOLDS, len(weights), len(weights))
        self.sums = torch.zeros(wide)  # single precision: they are large, and many sites have them
        self.count = torch.zeros(FOLDS, dtype=torch.float64)
        self.units: set[int] = set()

    def add(
        self,
        ahead: NextStateMoments,
        mean: Float[Tensor, "prefix latent"],
        unit: Int[Tensor, " prefix"],
    ) -> None:
        """Add next states after some prefixes, and the means predicted by the fit."""
        self.units |= set(unit.tolist())
        for fold in torch.unique(unit % FOLDS).tolist():
            rows = (unit % FOLDS == fold).nonzero()[:, 0]
            few = ahead[rows]
            self.count[fold] += len(rows)
            self.sums[0, fold] += self._scaled(few.covariance())
            away = few.deviation + (few.mean - mean[rows])[:, None]
            self.sums[1, fold] += self._scaled(scatter(away, few.shares))

    def add_fit(
        self,
        predicted: Predictive,
        wanted: Bool[Tensor, "path time"],
        unit: Int[Tensor, " path"],
        *,
        seed: int,
    ) -> None:
        """Add the fit's covariance at the `wanted` states of some texts."""
        row = wanted.nonzero()[:, 0]
        folds = torch.bincount(unit[row] % FOLDS, minlength=FOLDS)
        scale = predicted.covariance()
        if scale.variance().ndim == 1:  # the same everywhere
            same = self._scaled(scale.covariance().double())
            self.sums[2] += folds[:, None, None] * same
            return
        for draw in range(DRAWS):
            noise = (predicted.sample(derive(seed, draw)) - predicted.mean)[wanted][:, None]
            for fold in folds.nonzero()[:, 0].tolist():
                one = noise[unit[row] % FOLDS == fold]
                share = torch.full(one.shape[:2], 1 / DRAWS, dtype=torch.float64)
                self.sums[2, fold] += self._scaled(scatter(one, share))

    def _scaled(self, matrix: Float[Tensor, "latent latent"]) -> Float[Tensor, "latent latent"]:
        return (self.root[:, None] * matrix.double() * self.root).float()

    def mean(self, kind: str) -> Float[Tensor, "latent latent"]:
        """The average over all prefixes."""
        found: Tensor = self.sums[KINDS.index(kind)].double().sum(0) / self.count.sum()
        return found

    def angles(self, one: str, other: str, rank: int) -> Float[Tensor, " rank"]:
        """Principal angles between leading subspaces, in degrees, smallest first."""
        return _angles(self.mean(one), self.mean(other), rank)

    def overlap(self, one: str, other: str, rank: int) -> Interval:
        """Mean squared cosine of the principal angles, with jackknife errors over documents.

        It is 1 for equal subspaces and rank / d on average for random ones.
        """
        first, second = KINDS.index(one), KINDS.index(other)
        return self._jackknife(lambda sums: overlap(sums[first], sums[second], rank))

    def halves(self, kind: str, rank: int) -> float:
        """Overlap between two halves of the documents: the reliability of the subspace."""
        parts = self.sums[KINDS.index(kind)]
        return float(overlap(parts[::2].sum(0), parts[1::2].sum(0), rank))

    def _jackknife(self, function: Function) -> Interval:
        whole, seen = self.sums.double().sum(1), self.count.nonzero()[:, 0]
        value, folds = function(whole), len(seen)
        if folds < 2:
            return Interval.unknown(value)
        left = torch.stack([function(whole - self.sums[:, fold]) for fold in seen])
        stderr = ((folds - 1) / folds * (left - left.mean()).square().sum()).sqrt()
        return Interval.student(value, stderr, folds).over(len(self.units))


def overlap(
    one: Float[Tensor, "latent latent"], other: Float[Tensor, "latent latent"], rank: int
) -> Float[Tensor, ""]:
    """Mean squared cosine between the leading subspaces of two covariances.

    >>> overlap(torch.eye(3).diag().diag(), torch.tensor([1.0, 3.0, 2.0]).diag(), 3)
    tensor(1.)
    """
    return _cosines(one, other, rank).square().mean()


def _angles(one: Tensor, other: Tensor, rank: int) -> Tensor:
    return _cosines(one, other, rank).clamp(max=1).arccos().rad2deg()


def _cosines(one: Tensor, other: Tensor, rank: int) -> Tensor:
    spans = (torch.linalg.eigh(matrix)[1][:, -rank:] for matrix in (one, other))
    first, second = spans
    found: Tensor = torch.linalg.svdvals(first.mT @ second)
    return found
