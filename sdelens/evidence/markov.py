r"""Whether lagged states add to what a law says of the next one.

The residuals of a fitted law, standardised, are regressed on the current state alone and on the
two states before it as well; then so are the logarithms of their variance. Both regressions see
polynomials of the current state, so that what a law misses there is less likely to pass for
memory: a lagged state knows much of the current one. Gains are those of held-out documents in
nats per dimension, every penalty having been chosen on validation. What lagged states add must
be estimated, and where there are few transitions the estimate is too low by up to its price: an
effect counts as absent only if it is so with that added.
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
"""Penalties on the current state, as shares of each feature's own sum of squares."""
LAG = (1e-4, 1e-2, 1e-1, 1.0, 1e3)
"""Penalties on lagged states; the last is as good as none of them."""
FEW = 8
"""Up to so many coordinates their products are features too."""
FARTHEST = 4.0
"""States count as no further out than so many deviations, in polynomials of them."""


@dataclass(frozen=True, eq=False)
class MarkovFeatures:
    """What the regressions see: the current state's first, then those of lagged states."""

    centre: Float[Tensor, " dim"]
    spread: Float[Tensor, " dim"]

    @classmethod
    def of(cls, train: Lagged) -> "MarkovFeatures":
        """Standardised by the training states."""
        spread = train.x.std(0).clamp(min=1e-6 * float(train.x.std()))
        return cls(train.x.mean(0), spread)

    def current(self, rows: Lagged, powers: int) -> Float[Tensor, "row feature"]:
        """The constant, powers of each coordinate, and of few coordinates their products."""
        z = ((rows.x - self.centre) / self.spread).clamp(-FARTHEST, FARTHEST)
        one, other = _pairs(z.shape[1])
        products = z[:, one] * z[:, other]
        powered = (z**k for k in range(1, powers + 1))
        return torch.cat([torch.ones_like(z[:, :1]), *powered, products], 1)

    def for_mean(self, rows: Lagged) -> Float[Tensor, "row feature"]:
        """Cubic in the state; the way that led to it, from which the lagged states follow."""
        way = (rows.x[:, None] - rows.before) / self.spread
        way = rearrange(way, "row lag dim -> row (lag dim)")
        return torch.cat([self.current(rows, 3), way], dim=1)

    def for_scale(self, rows: Lagged) -> Float[Tensor, "row feature"]:
        """Quadratic in the state; the squares of the residuals before."""
        squares = rows.earlier.clamp(-FARTHEST, FARTHEST).square()
        squares = rearrange(squares, "row lag dim -> row (lag dim)")
        return torch.cat([self.current(rows, 2), squares], dim=1)


@dataclass(frozen=True, eq=False)
class Standard:
    """A law's residuals, freed of what the current state still tells of their mean and scale."""

    features: MarkovFeatures
    mean: Regression
    scale: LogScale

    def white(self, rows: Lagged) -> Float[Tensor, "row dim"]:
        """Uncorrelated, before their scale."""
        seen = self.features.for_mean(rows)[:, : len(self.mean.coefficients)]
        return self.mean.residual(seen, rows.residual)

    def __call__(self, rows: Lagged) -> Float[Tensor, "row dim"]:
        seen = self.features.for_scale(rows)[:, : len(self.scale.coefficients)]
        return self.scale.standardised(seen, self.white(rows))


@dataclass(frozen=True, eq=False)
class MarkovSplit:
    """Rows of training, validation and held-out documents, and how many groups they are of."""

    train: Lagged
    validation: Lagged
    test: Lagged
    groups: int


def memory(sides: MarkovSplit) -> tuple[Standard, tuple[Effect, Effect]]:
    """What lagged states add to the mean and to the scale, and residuals without them."""
    features = MarkovFeatures.of(sides.train)
    mean, by_mean = _mean(sides, features)
    own = Standard(features, mean, LogScale(torch.zeros(1, 1)))
    scale, by_scale = _scale(sides, own)
    return Standard(features, mean, scale), (by_mean, by_scale)


def _mean(sides: MarkovSplit, features: MarkovFeatures) -> tuple[Regression, Effect]:
    """Without lagged states, and what they add."""
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
    """Without lagged squares, and what they add."""
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
    """Each pair of different coordinates once, where they are few enough."""
    return torch.combinations(torch.arange(dim)).mT if 1 < dim <= FEW else torch.zeros(2, 0).long()


def _penalty(size: int, weight: float, *, free: bool = True) -> Float[Tensor, " feature"]:
    """The same for all features, but for a free constant at their head."""
    penalty = torch.full((size,), weight, dtype=torch.float64)
    if free:
        penalty[0] = 1e-9
    return penalty


def _effect(name: str, gains: Float[Tensor, " row"], sides: MarkovSplit) -> Effect:
    """With what it costs to estimate p coefficients of each coordinate from N rows, p/2N."""
    rows, dim = sides.train.x.shape
    price = LAGS * dim / (2 * rows)
    return paired_gain(name, gains, sides.test.group, sides.groups, MEMORY, price)
