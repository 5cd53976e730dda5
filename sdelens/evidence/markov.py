r"""Tests of memory: whether lagged states improve the prediction of a fitted law.

The standardised residuals of the law are regressed on the current state alone, and on the current
and the two previous states; the log variances of the residuals likewise. Both regressions include
polynomials of the current state, so that a lack of fit of the law is less likely to appear as
memory, since lagged states are correlated with the current one. Gains are in nats per dimension
on held-out documents, with penalties selected on validation documents. With few transitions, the
estimated coefficients of lagged states bias a gain downwards by up to its `price`; an effect is
absent only if it is below the threshold with the price added.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.estimation import log_scale, regression
from sdelens.estimation.log_scale import LogScale
from sdelens.estimation.regression import Regression
from sdelens.evidence.effects import Effect, paired_gain
from sdelens.evidence.lagged import LAGS, Lagged
from sdelens.evidence.process_class import MEMORY
from sdelens.paths.products import products_of

OWN = (1e-4, 1e-2, 1.0)
"""Penalties on features of the current state, relative to the sum of squares of each feature."""
LAG = (1e-4, 1e-2, 1e-1, 1.0, 1e3)
"""Penalties on lagged states; the last one effectively removes them."""
FEW = 8
"""Maximum dimension in which products of coordinates are included as features."""
FARTHEST = 4.0
"""Bound on states in the polynomials, in standard deviations."""


@dataclass(frozen=True, eq=False)
class MarkovFeatures:
    """Features of the regressions: those of the current state, then those of lagged states."""

    centre: Float[Tensor, " dim"]
    spread: Float[Tensor, " dim"]

    @classmethod
    def of(cls, train: Lagged) -> "MarkovFeatures":
        """Features standardised by the mean and standard deviation of the training states."""
        spread = train.x.std(0).clamp(min=torch.finfo(train.x.dtype).tiny)
        return cls(train.x.mean(0), spread)

    def current(self, rows: Lagged, powers: int) -> Float[Tensor, "row feature"]:
        """A constant, powers of each coordinate and, in low dimension, products of coordinates."""
        z = ((rows.x - self.centre) / self.spread).clamp(-FARTHEST, FARTHEST)
        one, other = _pairs(z.shape[1])
        products = z[:, one] * z[:, other]
        powered = (z**k for k in range(1, powers + 1))
        return torch.cat([torch.ones_like(z[:, :1]), *powered, products], 1)

    def for_mean(self, rows: Lagged) -> Float[Tensor, "row feature"]:
        """Features of the mean: cubic in the current state, and increments from lagged states."""
        way = (rows.x[:, None] - rows.before) / self.spread
        way = rearrange(way, "row lag dim -> row (lag dim)")
        return torch.cat([self.current(rows, 3), way], dim=1)

    def for_scale(self, rows: Lagged) -> Float[Tensor, "row feature"]:
        """Features of the scale: quadratic in the current state, and squared lagged residuals."""
        squares = rows.earlier.clamp(-FARTHEST, FARTHEST).square()
        squares = rearrange(squares, "row lag dim -> row (lag dim)")
        return torch.cat([self.current(rows, 2), squares], dim=1)


@dataclass(frozen=True, eq=False)
class Standard:
    """Residuals of a law, corrected for the dependence of mean and scale on the current state."""

    features: MarkovFeatures
    mean: Regression
    scale: LogScale

    def white(self, rows: Lagged) -> Float[Tensor, "row dim"]:
        """Residuals corrected for their mean and correlations, but not yet for their scale."""
        seen = self.features.for_mean(rows)[:, : len(self.mean.coefficients)]
        return self.mean.residual(seen, rows.residual)

    def __call__(self, rows: Lagged) -> Float[Tensor, "row dim"]:
        seen = self.features.for_scale(rows)[:, : len(self.scale.coefficients)]
        return self.scale.standardised(seen, self.white(rows))


@dataclass(frozen=True, eq=False)
class MarkovSplit:
    """Rows of training, validation and test documents, and the number of groups of documents."""

    train: Lagged
    validation: Lagged
    test: Lagged
    groups: int


def memory(sides: MarkovSplit) -> tuple[Standard, tuple[Effect, Effect]]:
    """Residuals without memory, and the gains of lagged states for the mean and the scale."""
    features = MarkovFeatures.of(sides.train)
    mean, by_mean = _mean(sides, features)
    own = Standard(features, mean, LogScale(torch.zeros(1, 1)))
    scale, by_scale = _scale(sides, own)
    return Standard(features, mean, scale), (by_mean, by_scale)


def _mean(sides: MarkovSplit, features: MarkovFeatures) -> tuple[Regression, Effect]:
    """Regression of the mean without lagged states, and the gain from adding them."""
    train, validation = (
        products_of(features.for_mean(rows), rows.residual)
        for rows in (sides.train, sides.validation)
    )
    dim = sides.train.x.shape[1]
    split = 1 + 3 * dim + len(_pairs(dim)[0])
    least = [_penalty(split, own) for own in OWN]
    own, penalty = regression.chosen(train.first(split), validation.first(split), least)
    more = [torch.cat([penalty, _penalty(LAGS * dim, lag, free=False)]) for lag in LAG]
    wide, _ = regression.chosen(train, validation, more)
    seen, target = features.for_mean(sides.test), sides.test.residual
    gains = wide.log_density(seen, target) - own.log_density(seen[:, :split], target)
    return own, _effect("memory of the mean", gains / dim, sides)


def _scale(sides: MarkovSplit, own: Standard) -> tuple[LogScale, Effect]:
    """Regression of the scale without lagged residuals, and the gain from adding them."""
    dim = sides.train.x.shape[1]
    split = 1 + 2 * dim + len(_pairs(dim)[0])
    pairs = [
        (own.features.for_scale(rows), own.white(rows)) for rows in (sides.train, sides.validation)
    ]
    train, validation = pairs
    short_train, short_validation = ((seen[:, :split], white) for seen, white in pairs)
    least = [_penalty(split, weight) for weight in OWN]
    plain, penalty = log_scale.chosen(short_train, short_validation, least)
    more = [torch.cat([penalty, _penalty(LAGS * dim, lag, free=False)]) for lag in LAG]
    wide, _ = log_scale.chosen(train, validation, more)
    seen, white = own.features.for_scale(sides.test), own.white(sides.test)
    gains = wide.log_density(seen, white) - plain.log_density(seen[:, :split], white)
    return plain, _effect("memory of the scale", gains / dim, sides)


def _pairs(dim: int) -> Int[Tensor, "2 pair"]:
    """Pairs of distinct coordinates; none in one dimension or above `FEW`."""
    return torch.combinations(torch.arange(dim)).mT if 1 < dim <= FEW else torch.zeros(2, 0).long()


def _penalty(size: int, weight: float, *, free: bool = True) -> Float[Tensor, " feature"]:
    """The same penalty for all features; if `free`, nearly none on the leading constant."""
    penalty = torch.full((size,), weight, dtype=torch.float64)
    if free:
        penalty[0] = 1e-9
    return penalty


def _effect(name: str, gains: Float[Tensor, " row"], sides: MarkovSplit) -> Effect:
    """Mean gain, with the price p/2N of estimating p coefficients per coordinate from N rows."""
    rows, dim = sides.train.x.shape
    price = LAGS * dim / (2 * rows)
    return paired_gain(name, gains, sides.test.group, sides.groups, MEMORY, price)
