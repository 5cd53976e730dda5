"""Predictors of the residuals of a law: the current state, the time and lagged states.

Each regression adds the blocks of predictors in this order, so that the gain of a block is what
it adds to the blocks before it.
"""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from sdelens.evidence.lagged import Lagged
from sdelens.paths.moments import nearest
from sdelens.seeds import generator

FEW = 8
"""Number of leading coordinates that enter products, waves and interactions with time."""
WAVES = 100
"""Number of random Fourier features (Rahimi and Recht 2007)."""
SCALES = 0.2, 2.0
"""Length scales of the waves, in standard deviations."""
OWN_WAVES, OWN_DIM = 8, 32
"""Number of waves of each coordinate alone, and the maximum dimension for them."""
PAST_WAVES = 30
"""Number of waves of the state one step earlier."""
RHYTHMS = 6
"""Number of cosines of the time, which multiply the leading coordinates."""
TIMES = 256
"""Maximum number of times with an indicator each; more are thinned evenly."""
FARTHEST = 4.0
"""Bound on predictors, in standard deviations."""
OUTER = 0.99
"""Quantile that measures spread: it exists for heavy tails, and is not zero for atoms."""
NORMAL = 2.5758
"""That quantile of the absolute value of a standard normal variable."""


@dataclass(frozen=True, eq=False)
class Ruler:
    """Centre and spread of each coordinate: of Gaussian data, mean and standard deviation."""

    centre: Float[Tensor, " dim"]
    spread: Float[Tensor, " dim"]

    @classmethod
    def of(cls, values: Float[Tensor, "row dim"]) -> "Ruler":
        """Median, and `OUTER` quantile of the distance from it divided by that of a Gaussian."""
        values = values[:: math.ceil(values.numel() / 1e6)]
        centre = values.median(0).values
        spread = (values - centre).abs().quantile(OUTER, dim=0) / NORMAL
        return cls(centre, spread.clamp(min=torch.finfo(values.dtype).tiny))

    def __call__(self, values: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Standardised values, clamped to ±`FARTHEST`."""
        return ((values - self.centre) / self.spread).clamp(-FARTHEST, FARTHEST)


@dataclass(frozen=True, eq=False)
class Predictors:
    """Blocks of predictors in units of the training states."""

    state: Ruler
    noise: Ruler
    leading: Float[Tensor, "dim few"]
    """Directions of the leading coordinates."""
    frequency: Float[Tensor, "few wave"]
    phase: Float[Tensor, " wave"]
    times: Float[Tensor, " time"]
    """Increasing times of the training rows, each with an indicator."""

    @classmethod
    def of(cls, train: Lagged) -> "Predictors":
        """Scales and leading directions of the training rows."""
        state = Ruler.of(train.x)
        z = state(train.x)
        dim = z.shape[1]
        few = min(FEW, dim)
        leading = torch.eye(dim).to(z)
        if dim > FEW:
            values, vectors = torch.linalg.eigh(torch.cov(z.mT))
            leading = (vectors / values.clamp(min=1e-12).sqrt()).flip(1)[:, :few]
        random = generator(0, "waves")
        frequency = torch.randn(few, WAVES, generator=random)
        low, high = map(math.log, SCALES)
        scales = low + (high - low) * torch.rand(WAVES, generator=random)
        phase = 2 * torch.pi * torch.rand(WAVES, generator=random)
        times = torch.unique(train.time)
        return cls(
            state=state,
            noise=Ruler.of(train.residual),
            leading=leading,
            frequency=(frequency / scales.exp() / few**0.5).to(z),
            phase=phase.to(z),
            times=times[:: math.ceil(len(times) / TIMES)],
        )

    def target(self, rows: Lagged) -> Float[Tensor, "row dim"]:
        """Residuals in units of their spread, clamped, so that their moments exist."""
        return self.noise(rows.residual)

    def for_mean(self, rows: Lagged) -> tuple[Float[Tensor, "row feature"], ...]:
        """A constant; functions of the state; of the time, smooth, then any; of lagged states."""
        z = self.state(rows.x)
        few, rhythm = z @ self.leading, self._rhythms(rows)
        moving = rearrange(rhythm[:, :, None] * few[:, None], "row r few -> row (r few)")
        smooth = torch.cat([rhythm, moving], dim=1)
        way = (rows.x[:, None] - rows.before) / self.state.spread
        way = rearrange(way.clamp(-FARTHEST, FARTHEST), "row past dim -> row (past dim)")
        past = torch.cat([way, self._waves(self.state(rows.before[:, 0]), PAST_WAVES)], dim=1)
        state, times = self.of_state(z), self._indicators(rows)
        return torch.ones_like(z[:, :1]), state, smooth, times, past

    def for_scale(self, rows: Lagged) -> tuple[Float[Tensor, "row feature"], ...]:
        """A constant; functions of the state; of the time; and squared lagged residuals.

        The blocks correspond to those of the mean.
        """
        z = self.state(rows.x)
        return (
            torch.ones_like(z[:, :1]),
            self.of_state(z),
            self._rhythms(rows),
            self._indicators(rows),
            rearrange(rows.squares, "row past dim -> row (past dim)"),
        )

    def of_state(self, z: Float[Tensor, "row dim"]) -> Float[Tensor, "row feature"]:
        """Powers, products and waves of standardised states."""
        return torch.cat(
            [z, z.square(), z**3, self._products(z), self._waves(z, WAVES), self._own(z)], dim=1
        )

    def _waves(self, z: Float[Tensor, "row dim"], count: int) -> Float[Tensor, "row wave"]:
        """The first `count` waves of the leading coordinates."""
        few = z @ self.leading
        return torch.cos(few @ self.frequency[:, :count] + self.phase[:count])

    def _own(self, z: Float[Tensor, "row dim"]) -> Float[Tensor, "row wave"]:
        """Sines and cosines of each coordinate alone; none in high or one dimension."""
        if not 1 < z.shape[1] <= OWN_DIM:
            return z[:, :0]
        periods = torch.arange(1, OWN_WAVES // 2 + 1).to(z)
        angle = rearrange(z[..., None] * periods, "row dim wave -> row (dim wave)")
        return torch.cat([angle.sin(), angle.cos()], dim=1)

    def _indicators(self, rows: Lagged) -> Float[Tensor, "row time"]:
        """One for the nearest training time of each row, zero for others."""
        return one_hot(nearest(self.times, rows.time), len(self.times)).to(rows.x)

    def _products(self, z: Float[Tensor, "row dim"]) -> Float[Tensor, "row pair"]:
        few = z @ self.leading
        one, other = pairs(few.shape[1])
        return few[:, one] * few[:, other]

    def _rhythms(self, rows: Lagged) -> Float[Tensor, "row rhythm"]:
        start, duration = self.times[0], (self.times[-1] - self.times[0]).clamp(min=1e-30)
        phase = torch.pi * ((rows.time - start) / duration).to(rows.x)
        return torch.cos(phase[:, None] * torch.arange(1, RHYTHMS + 1).to(phase))


def pairs(dim: int) -> Int[Tensor, "2 pair"]:
    """Pairs of distinct coordinates; none in one dimension."""
    return torch.combinations(torch.arange(dim)).mT if dim > 1 else torch.zeros(2, 0).long()
