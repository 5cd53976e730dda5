"""Free-running predictions of a fitted SDE from an observed state, and their errors."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import repeat
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sdelens.estimation.additive import AdditiveMean
from sdelens.estimation.selection import selected
from sdelens.fitting.baselines import TERMS
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.simulation import simulate
from sdelens.fitting.study import Viewed
from sdelens.laws.law import Mean
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import NO_TOKEN
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.common.observed_path import ObservedPath
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents

LEVEL = 0.9
"""The nominal coverage of a band."""


@dataclass(frozen=True, eq=False)
class Band:
    """Simulated paths in the plane: their mean, and the middle 90% of each component.

    States that vary in one direction have one component.
    """

    mean: Float[Tensor, "time *path component"]
    low: Float[Tensor, "time *path component"]
    high: Float[Tensor, "time *path component"]

    @classmethod
    def of(cls, draws: Float[Tensor, "time *path draw component"]) -> "Band":
        """From simulated paths."""
        count = draws.shape[-2]
        # the k-th of n draws has k/(n+1) of the law below it on average, so that a new draw falls
        # into the band with probability LEVEL exactly; torch counts from 0 to n - 1
        tail = ((count + 1) * (1 - LEVEL) / 2 - 1) / (count - 1)
        low, high = (draws.quantile(min(max(q, 0.0), 1.0), dim=-2) for q in (tail, 1 - tail))
        return cls(draws.mean(-2), low, high)

    def contains(
        self, points: Float[Tensor, "time *path component"]
    ) -> Bool[Tensor, "time *path component"]:
        """Whether each component of each point lies inside."""
        return (points >= self.low) & (points <= self.high)


def free_run(
    fitted: Fitted,
    starts: Float[Tensor, "path dim"],
    *,
    t: float,
    steps: int,
    draws: int,
    seed: int,
) -> Float[Tensor, "time path draw dim"]:
    """Simulated paths from each start at time `t`."""
    repeated = repeat(starts, "path dim -> path draw dim", draw=draws)
    return simulate(fitted, repeated, steps=steps, t=t, seed=seed)


@dataclass(frozen=True, eq=False)
class Horizons:
    """Prediction errors by document and horizon, as distances in the fit's coordinates.

    The column ``h - 1`` is h steps after the start; NaN after the end of a document.
    """

    free: Float[Tensor, "document horizon"]
    """Of the mean of the free-running paths."""
    linear: Float[Tensor, "document horizon"]
    """Of the free-running mean of the linear law."""
    walk: Float[Tensor, "document horizon"]
    """Of the state at the start: the random walk."""
    centre: Float[Tensor, "document horizon"]
    """Of the mean training state."""
    inside: Float[Tensor, "document horizon"]
    """The share of the components inside their 90% bands."""

    @property
    def coverage(self) -> DocumentMean:
        """The share inside the bands, with an error over documents."""
        share = self.inside.nanmean(1)
        return DocumentMean.ratio(share, torch.ones_like(share))

    def to_walk(self, name: str, steps: int) -> DocumentMean:
        """Distances a number of steps ahead, relative to those of the random walk."""
        walk = self.walk[:, steps - 1]
        known = walk.isfinite()
        return DocumentMean.ratio(getattr(self, name)[known, steps - 1], walk[known])

    @property
    def lead(self) -> Float[Tensor, "document horizon"]:
        """The error of the linear law less that of the fit."""
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
        """Simulates from the first state of each path; equal start times share a batch."""
        rows: dict[int, Tensor] = {}
        for t in sorted({float(path.times[0]) for path in starts}):
            index = [i for i, path in enumerate(starts) if float(path.times[0]) == t]
            group = [starts[i] for i in index]
            batch_seed = derive(seed, "horizon", t)
            errors = _errors(fitted, linear, plane, group, t, draws, batch_seed)
            rows |= zip(index, errors, strict=True)
        ordered = [rows[i] for i in range(len(starts))]
        return cls(*pad_sequence(ordered, batch_first=True, padding_value=math.nan).unbind(-1))


def _errors(
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
    paths = free_run(fitted, first, t=t, steps=steps, draws=draws, seed=seed)
    starts = fitted.basis.encode(torch.full((len(group),), t), first)
    linear_means = iterated_mean(linear, starts, t=t, dt=fitted.dt, steps=steps)
    rows = zip(group, paths.unbind(1), starts, linear_means.unbind(1), strict=True)
    for path, simulated, start, linear_mean in rows:
        simulated, times = simulated[1 : path.steps + 1], path.times[1:]
        actual = fitted.basis.encode(times, path.states[1:])
        latent = fitted.basis.encode(times[:, None].expand(simulated.shape[:2]), simulated)
        inside = Band.of(plane.project(simulated)).contains(plane.project(path.states[1:]))
        predicted = (linear_mean[: path.steps], start, torch.zeros_like(actual))
        distances = [
            _mean_distance(latent, actual),
            *((z - actual).norm(dim=-1) for z in predicted),
        ]
        yield torch.stack([*distances, inside.float().mean(-1)], dim=-1)


def _mean_distance(
    draws: Float[Tensor, "time draw dim"], actual: Float[Tensor, "time dim"]
) -> Float[Tensor, " time"]:
    """The distance of the law's mean, corrected for the sampling error of the mean of draws."""
    squares = (draws.mean(1) - actual).square().sum(-1)
    sampling = draws.var(1).sum(-1) / draws.shape[1]
    return (squares - sampling).clamp(min=0).sqrt()


def iterated_mean(
    mean: Mean, x: Float[Tensor, "path dim"], *, t: float, dt: float, steps: int
) -> Float[Tensor, "time path dim"]:
    """The mean applied repeatedly: the expectation of each later state if it is linear."""
    states, token = [], torch.full((len(x),), NO_TOKEN)
    for step in range(steps):
        x = mean(torch.full((len(x),), t + step * dt), x, token)
        states.append(x)
    return torch.stack(states)


def linear_mean(viewed: Viewed) -> AdditiveMean:
    """The mean of the linear baseline, fitted in the fit's coordinates."""
    train, validation = (viewed.fitted.encoded(side) for side in (viewed.train, viewed.validation))
    times = times_of(train)
    moments, validation_moments = (Moments.of(side, times) for side in (train, validation))
    return selected(moments, validation_moments, TERMS["linear"]).to(torch.float32)
