"""A fitted SDE run freely from an observed state, beside what then happened."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sdelens.fitting.fitted import Fitted
from sdelens.fitting.simulation import simulate
from sdelens.laws.law import Mean
from sdelens.paths.trajectories import NO_TOKEN
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.common.observed_path import ObservedPath
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents

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


@dataclass(frozen=True, eq=False)
class Horizons:
    """How far predictions are off, by document and horizon, in the fit's coordinates.

    The column ``h - 1`` is h steps after the start; NaN where a document had ended.
    """

    free: Float[Tensor, "document horizon"]
    """Of the mean of the free-running paths."""
    linear: Float[Tensor, "document horizon"]
    """Of the mean of the linear law, run freely too."""
    walk: Float[Tensor, "document horizon"]
    """Of the state at the start: the random walk."""
    centre: Float[Tensor, "document horizon"]
    """Of the mean training state."""
    inside: Float[Tensor, "document horizon"]
    """The share of the two components inside their 90% bands."""

    @property
    def coverage(self) -> DocumentMean:
        """The share inside the bands, over documents."""
        share = self.inside.nanmean(1)
        return DocumentMean.ratio(share, torch.ones_like(share))

    def to_walk(self, name: str, steps: int) -> DocumentMean:
        """Distances so many steps ahead over those of the random walk."""
        walk = self.walk[:, steps - 1]
        seen = walk.isfinite()
        return DocumentMean.ratio(getattr(self, name)[seen, steps - 1], walk[seen])

    @property
    def lead(self) -> Float[Tensor, "document horizon"]:
        """By how much the linear law is further off than the fit."""
        return self.linear - self.free

    @classmethod
    def of(
        cls,
        fitted: Fitted,
        linear: Mean,
        plane: PrincipalComponents,
        starts: Sequence[ObservedPath],
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
            found = _compared(fitted, linear, plane, group, t, draws, own)
            rows |= zip(together, found, strict=True)
        ordered = [rows[i] for i in range(len(starts))]
        return cls(*pad_sequence(ordered, batch_first=True, padding_value=math.nan).unbind(-1))


def _compared(
    fitted: Fitted,
    linear: Mean,
    plane: PrincipalComponents,
    group: Sequence[ObservedPath],
    t: float,
    draws: int,
    seed: int,
) -> Iterator[Float[Tensor, "horizon 5"]]:
    """The columns of `Horizons` for each path of a group that starts at `t`."""
    first = torch.stack([path.states[0] for path in group])
    steps = max(path.steps for path in group)
    paths = released(fitted, first, t=t, steps=steps, draws=draws, seed=seed)
    starts = fitted.basis.encode(torch.full((len(group),), t), first)
    straight = carried(linear, starts, t=t, dt=fitted.dt, steps=steps)
    rows = zip(group, paths.unbind(1), starts, straight.unbind(1), strict=True)
    for path, own, start, line in rows:
        own, times = own[1 : path.steps + 1], path.times[1:]
        actual = fitted.basis.encode(times, path.states[1:])
        drawn = fitted.basis.encode(times[:, None].expand(own.shape[:2]), own)
        inside = Band.of(plane.project(own)).holds(plane.project(path.states[1:]))
        predicted = (line[: path.steps], start, torch.zeros_like(actual))
        distances = [_apart(drawn, actual), *((z - actual).norm(dim=-1) for z in predicted)]
        yield torch.stack([*distances, inside.float().mean(-1)], dim=-1)


def _apart(
    drawn: Float[Tensor, "time draw dim"], actual: Float[Tensor, "time dim"]
) -> Float[Tensor, " time"]:
    """The distance of the law's mean, without what a mean of finitely many draws adds to it."""
    squares = (drawn.mean(1) - actual).square().sum(-1)
    added = drawn.var(1).sum(-1) / drawn.shape[1]
    return (squares - added).clamp(min=0).sqrt()


def carried(
    mean: Mean, x: Float[Tensor, "path dim"], *, t: float, dt: float, steps: int
) -> Float[Tensor, "time path dim"]:
    """The mean applied to itself: the expectation of each later state, if it is linear."""
    states, token = [], torch.full((len(x),), NO_TOKEN)
    for step in range(steps):
        x = mean(torch.full((len(x),), t + step * dt), x, token)
        states.append(x)
    return torch.stack(states)
