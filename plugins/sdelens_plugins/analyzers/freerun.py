"""A fitted SDE run freely from an observed state, beside what then happened."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sdelens.evidence.student import student
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.simulation import simulate
from sdelens.seeds import derive
from sdelens_plugins.analyzers.components import Components
from sdelens_plugins.analyzers.observed import Observed

INSIDE = 0.9
"""The share of draws that a band is meant to hold."""


@dataclass(frozen=True, eq=False)
class Band:
    """Simulated paths in the plane: their mean, and the middle 90% of each component."""

    mean: Float[Tensor, "time *path 2"]
    low: Float[Tensor, "time *path 2"]
    high: Float[Tensor, "time *path 2"]

    @classmethod
    def of(cls, draws: Float[Tensor, "time *path draw 2"]) -> "Band":
        """Over the draws."""
        count = draws.shape[-2]
        # the k-th of n draws has k/(n+1) of the law below it on average, so that a new draw falls
        # into the band with probability INSIDE exactly; torch counts from 0 to n - 1
        tail = ((count + 1) * (1 - INSIDE) / 2 - 1) / (count - 1)
        low, high = (draws.quantile(min(max(q, 0.0), 1.0), dim=-2) for q in (tail, 1 - tail))
        return cls(draws.mean(-2), low, high)

    def holds(self, points: Float[Tensor, "time *path 2"]) -> Bool[Tensor, "time *path 2"]:
        """Which components of which points lie inside."""
        return (points >= self.low) & (points <= self.high)


def released(
    fitted: Fitted,
    starts: Float[Tensor, "path dim"],
    *,
    t: float,
    steps: int,
    draws: int,
    seed: int,
) -> Float[Tensor, "time path draw dim"]:
    """Simulated paths from each start at time `t`."""
    many = starts[:, None].expand(len(starts), draws, -1)
    return simulate(fitted, many, steps=steps, t=t, seed=seed)


@dataclass(frozen=True)
class Ratio:
    """A ratio of two means over documents, with its error by the delta method."""

    value: float
    stderr: float | None
    documents: int

    @property
    def pair(self) -> tuple[float, float | None]:
        """Value and standard error."""
        return self.value, self.stderr

    def misses(self, level: float) -> bool:
        """Whether the 95% interval over documents leaves out this level."""
        return bool(self.stderr) and abs(self.value - level) > self.margin

    @property
    def percent(self) -> str:
        """As a share, with its 95% interval where there is one."""
        if not self.stderr:
            return f"{self.value:.0%}"
        low, high = self.value - self.margin, self.value + self.margin
        return f"{self.value:.0%} [{low:.0%}, {high:.0%}]"

    @property
    def margin(self) -> float:
        """Half of the 95% interval."""
        return student(0.975, self.documents) * (self.stderr or math.nan)

    @classmethod
    def of(cls, above: Float[Tensor, " document"], below: Float[Tensor, " document"]) -> "Ratio":
        """Of two numbers for each document."""
        count = len(above)
        level = float(below.mean())
        value = float(above.mean()) / level if level else math.nan
        if count < 2:
            return cls(value, None, count)
        spread = float((above - value * below).square().sum() / (count - 1))
        return cls(value, math.sqrt(spread / count) / level if level else None, count)


@dataclass(frozen=True, eq=False)
class Horizons:
    """How far predictions are off, by document and horizon, in the fit's coordinates.

    The column ``h - 1`` is h steps after the start; NaN where a document had ended.
    """

    free: Float[Tensor, "document horizon"]
    """Of the mean of the free-running paths."""
    walk: Float[Tensor, "document horizon"]
    """Of the state at the start: the random walk."""
    centre: Float[Tensor, "document horizon"]
    """Of the mean training state."""
    inside: Float[Tensor, "document horizon"]
    """The share of the two components inside their 90% bands."""

    @property
    def coverage(self) -> Ratio:
        """The share inside the bands, over documents."""
        share = self.inside.nanmean(1)
        return Ratio.of(share, torch.ones_like(share))

    @classmethod
    def of(
        cls,
        fitted: Fitted,
        plane: Components,
        starts: Sequence[Observed],
        *,
        draws: int,
        seed: int,
    ) -> "Horizons":
        """Simulate from the first state of each path, those that start together in one batch."""
        rows: dict[int, Tensor] = {}
        for t in sorted({float(path.times[0]) for path in starts}):
            together = [i for i, path in enumerate(starts) if float(path.times[0]) == t]
            group = [starts[i] for i in together]
            own = derive(seed, "horizon", t)
            rows |= zip(together, _compared(fitted, plane, group, t, draws, own), strict=True)
        ordered = [rows[i] for i in range(len(starts))]
        return cls(*pad_sequence(ordered, batch_first=True, padding_value=math.nan).unbind(-1))


def _compared(
    fitted: Fitted, plane: Components, group: Sequence[Observed], t: float, draws: int, seed: int
) -> Iterator[Float[Tensor, "horizon 4"]]:
    """The columns of `Horizons` for each path of a group that starts at `t`."""
    first = torch.stack([path.states[0] for path in group])
    steps = max(path.steps for path in group)
    paths = released(fitted, first, t=t, steps=steps, draws=draws, seed=seed)
    for path, own in zip(group, paths.unbind(1), strict=True):
        own, times = own[1 : path.steps + 1], path.times[1:]
        start = fitted.basis.encode(path.times[:1], path.states[:1])
        actual = fitted.basis.encode(times, path.states[1:])
        free = fitted.basis.encode(times, own.mean(1))
        inside = Band.of(plane.project(own)).holds(plane.project(path.states[1:]))
        distances = [(z - actual).norm(dim=-1) for z in (free, start, torch.zeros_like(actual))]
        yield torch.stack([*distances, inside.float().mean(-1)], dim=-1)
