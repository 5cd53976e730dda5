"""Nested regressions of the residuals of a law, of their mean and of their log variance.

Each stage adds a block of predictors: the current state, the time, lagged states. Coefficients
are fitted to training documents, penalties are selected on validation documents, and gains are
in nats per dimension on test documents. The gain of the first stage is the law's lack of fit, the
second shows a law that changes along the path, the third memory. The state enters by polynomials
and random Fourier features, so that a lack of fit does not appear as memory or as noise.
Residuals are clamped: under the Markov property no function of them has memory, and the moments of
a clamped residual exist.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.log_scale import LogScale
from sdelens.estimation.regression import Regression
from sdelens.evidence.effects import Effect, paired_gain
from sdelens.evidence.lagged import Lagged
from sdelens.evidence.predictors import Predictors
from sdelens.paths.products import products_of

FREE = 1e-9
"""Penalty of the constant."""
PENALTIES = (
    (1e-8, 1e-6, 1e-4, 1e-2, 1.0),
    (1e-4, 1e-2, 1.0, 1e3),
    (1e-4, 1e-2, 1e3),
    (1e-4, 1e-2, 1e-1, 1.0, 1e3),
)
"""Penalties of each block relative to the sum of squares of each feature; 1e3 removes it."""
SCALE_PENALTIES = (1e-4, 1e-2, 1.0), (1e-2, 1e3), (1e-2, 1e3), (1e-2, 1.0, 1e3)
"""The same for the log variance, whose fits are not in closed form."""

STATE, TIME, PAST = (0,), (1, 2), (3,)
"""Numbers of the blocks of the current state, of the time and of lagged states."""
LAST = PAST[0]
"""Number of the stage that has all blocks but that of lagged states."""
Fit = TypeVar("Fit", Regression, LogScale)


@dataclass(frozen=True, eq=False)
class Sides:
    """Rows of training, validation and test documents, and the number of groups of documents."""

    train: Lagged
    validation: Lagged
    test: Lagged
    groups: int


@dataclass(frozen=True, eq=False)
class Standard:
    """Residuals corrected for the mean and scale that state and time predict."""

    predictors: Predictors
    mean: Regression
    scale: LogScale

    def expected(self, rows: Lagged) -> Float[Tensor, "row dim"]:
        """Residuals of the law that state and time predict: its lack of fit."""
        noise = self.predictors.noise
        seen = _first(self.predictors.for_mean(rows), self.mean)
        return noise.centre + noise.spread * (seen @ self.mean.coefficients.to(seen))

    def white(self, rows: Lagged, *, clamped: bool = True) -> Float[Tensor, "row dim"]:
        """Residuals corrected for their mean and correlations, but not yet for their scale."""
        noise = self.predictors.noise
        target = noise(rows.residual) if clamped else (rows.residual - noise.centre) / noise.spread
        return self.mean.residual(_first(self.predictors.for_mean(rows), self.mean), target)

    def __call__(self, rows: Lagged, *, clamped: bool = True) -> Float[Tensor, "row dim"]:
        seen = _first(self.predictors.for_scale(rows), self.scale)
        return self.scale.standardised(seen, self.white(rows, clamped=clamped))


def _first(blocks: Sequence[Tensor], fit: Regression | LogScale) -> Float[Tensor, "row feature"]:
    return torch.cat(tuple(blocks), 1)[:, : len(fit.coefficients)]


@dataclass(frozen=True, eq=False)
class Nested:
    """Gains of the blocks over test rows, and the residuals without memory."""

    standard: Standard
    mean: Sequence[Float[Tensor, " row"]]
    scale: Sequence[Float[Tensor, " row"]]
    sizes: tuple[Sequence[int], Sequence[int]]
    """Number of predictors of each block, of the mean and of the scale."""
    sides: Sides

    def effect(
        self,
        name: str,
        *,
        scale: bool,
        blocks: Sequence[int],
        threshold: float,
        tolerance: float | None = None,
    ) -> Effect:
        """Mean gain of blocks, with the price p/2N of the p coefficients of the first block.

        Further blocks can show an effect, but their price does not count against its absence.
        """
        gains = torch.stack([(self.scale if scale else self.mean)[block] for block in blocks]).sum(
            0
        )
        price = self.sizes[scale][blocks[0]] / (2 * len(self.sides.train.x))
        found = paired_gain(
            name, gains, self.sides.test.group, self.sides.groups, threshold, price
        )
        return replace(found, tolerance=tolerance)


def nested(choices: Sequence[Sides]) -> Nested:
    """Fit all stages of both regressions, to the residuals that the state predicts best.

    A law whose mean has a term for each time may fit worse than the same law without, if that term
    makes up for a lack of fit.
    """
    sides = min(choices, key=_loss_given_state) if len(choices) > 1 else choices[0]
    predictors = Predictors.of(sides.train)
    rows = sides.train, sides.validation, sides.test
    targets = [predictors.target(each) for each in rows]
    blocks = [predictors.for_mean(each) for each in rows]
    means, of_mean = _stages_of_mean(blocks, targets)
    own = Standard(predictors, means[LAST], LogScale(torch.zeros(1, 1)))
    whites = [own.white(each) for each in rows]
    widths = [predictors.for_scale(each) for each in rows]
    scales, of_scale = _stages_of_scale(widths, whites)
    sizes = tuple([block.shape[1] for block in each[0][1:]] for each in (blocks, widths))
    return Nested(
        Standard(predictors, means[LAST], scales[LAST]),
        of_mean,
        of_scale,
        (sizes[0], sizes[1]),
        sides,
    )


def _loss_given_state(sides: Sides) -> float:
    """Validation loss of the regression on the state, in nats and units of the law's noise."""
    predictors = Predictors.of(sides.train)
    pairs = [
        (torch.cat(predictors.for_mean(rows)[:2], 1), predictors.target(rows))
        for rows in (sides.train, sides.validation)
    ]
    train, validation = (products_of(*pair) for pair in pairs)
    levels = torch.ones(len(train.xx), 1, dtype=torch.float64) * torch.tensor(PENALTIES[0])
    best = min(Regression.of(train, penalty).nll(validation) for penalty in levels.mT)
    return best + float(predictors.noise.spread.log().sum())


def _stages_of_mean(
    blocks: Sequence[Sequence[Tensor]], targets: Sequence[Tensor]
) -> tuple[list[Regression], list[Float[Tensor, " row"]]]:
    """The stages of the mean, whose products are summed once for all of them."""
    seen = [torch.cat(tuple(each), 1) for each in blocks]
    train = products_of(seen[0], targets[0])

    def fit(end: int, penalty: Tensor) -> Regression:
        return Regression.of(train.first(end), penalty)

    return _stages(_ends(blocks), seen[1:], targets[1:], fit, PENALTIES)


def _stages_of_scale(
    blocks: Sequence[Sequence[Tensor]], whites: Sequence[Tensor]
) -> tuple[list[LogScale], list[Float[Tensor, " row"]]]:
    """The stages of the log variance."""
    seen = [torch.cat(tuple(each), 1) for each in blocks]
    gram = products_of(seen[0], whites[0][:, :1]).xx

    def fit(end: int, penalty: Tensor) -> LogScale:
        return LogScale.of(seen[0][:, :end], whites[0], penalty, gram[:end, :end])

    return _stages(_ends(blocks), seen[1:], whites[1:], fit, SCALE_PENALTIES)


def _ends(blocks: Sequence[Sequence[Tensor]]) -> list[int]:
    """Number of predictors up to the end of each block."""
    return list(accumulate(block.shape[1] for block in blocks[0]))


def _stages(
    ends: Sequence[int],
    seen: Sequence[Float[Tensor, "_row feature"]],
    targets: Sequence[Float[Tensor, "_row dim"]],
    fitted: Callable[[int, Tensor], Fit],
    penalties: Sequence[Sequence[float]],
) -> tuple[list[Fit], list[Float[Tensor, " row"]]]:
    """The fit of each stage, and the gain of each over the one before on test rows.

    `fitted` fits the features up to an end with a penalty. Predictors and targets are those of
    validation and of test rows; the penalty of each block is selected on validation.
    """
    penalty, choices = torch.full((1,), FREE, dtype=torch.float64), ((), *penalties)
    fits, densities = [], []
    for end, levels in zip(ends, choices, strict=True):
        wide = [penalty.new_full((end - len(penalty),), level) for level in levels]
        candidates = [torch.cat([penalty, more]) for more in wide] or [penalty]
        tried = [fitted(end, each) for each in candidates]
        validation, test = ((rows[:, :end], own) for rows, own in zip(seen, targets, strict=True))
        number = simplest([fit.log_density(*validation) for fit in tried])
        fits.append(tried[number])
        penalty = candidates[number]
        densities.append(tried[number].log_density(*test))
    gains = [(b - a) / targets[1].shape[1] for a, b in pairwise(densities)]
    return fits, gains


def simplest(densities: Sequence[Float[Tensor, " row"]]) -> int:
    """The number of the last model, in order of simplicity, that these rows do not rule out.

    One is ruled out if its mean log density is below the highest by more than one standard error
    of their paired difference: few rows with large residuals decide which is highest, also where
    no predictor matters (Breiman, Friedman, Olshen and Stone, *Classification and regression
    trees*, 1984).
    """
    best = max(densities, key=lambda density: float(density.double().mean()))
    numbers = range(len(densities))
    return max(k for k in numbers if _not_worse(best.double() - densities[k].double()))


def _not_worse(shortfall: Float[Tensor, " row"]) -> bool:
    """Whether the mean is at most one standard error above zero."""
    error = float(shortfall.std()) / math.sqrt(len(shortfall))
    return float(shortfall.mean()) <= error
