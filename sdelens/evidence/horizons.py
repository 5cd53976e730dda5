"""Multi-step forecasts: the law iterated from observed states, and paths thinned to h steps."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.laws.law import Law
from sdelens.paths.trajectories import NO_TOKEN, MappedPaths, Paths, Trajectories
from sdelens.seeds import derive


def thinned(paths: Paths, every: int) -> MappedPaths:
    """Paths of every h-th observation, one for each phase, so that each h-step transition occurs.

    Args:
        paths: Paths to thin.
        every: The number of steps h.
    """

    def thin(block: Trajectories) -> Trajectories:
        count, time = block.mask.shape
        index = torch.arange(-(-time // every) * every, device=block.mask.device)
        column = index.clamp(max=time - 1)  # the last phases may be one observation shorter

        def phases(values: Tensor) -> Tensor:
            return rearrange(
                values[:, column], "path (step phase) ... -> (path phase) step ...", phase=every
            )

        inside = repeat(index < time, "(step phase) -> (path phase) step", path=count, phase=every)
        return Trajectories(
            states=phases(block.states),
            mask=phases(block.mask) & inside,
            times=phases(block.times.expand(count, time)),
            tokens=phases(block.tokens),
            document=repeat(block.document, "path -> (path phase)", phase=every),
        )

    return MappedPaths(paths, thin)


@dataclass(frozen=True, eq=False)
class Starts:
    """Start states of forecasts, and the states observed at each horizon after them."""

    t: Float[Tensor, " start"]
    x: Float[Tensor, "start dim"]
    document: Int[Tensor, " start"]
    following: Float[Tensor, "horizon start dim"]

    @classmethod
    def of(
        cls, paths: Iterable[Trajectories], horizons: Sequence[int], *, each: int
    ) -> "Starts | None":
        """At most `each` evenly spaced starts per path whose horizons are all observed.

        None if no path is long enough.
        """
        parts = [part for block in paths if (part := _starts(block, horizons, each))]
        if not parts:
            return None
        return cls(
            t=torch.cat([part.t for part in parts]),
            x=torch.cat([part.x for part in parts]),
            document=torch.cat([part.document for part in parts]),
            following=torch.cat([part.following for part in parts], dim=1),
        )


def _starts(block: Trajectories, horizons: Sequence[int], each: int) -> Starts | None:
    open_ = block.observed(0, *horizons)
    if not open_.any():
        return None
    rank, total = open_.long().cumsum(1), open_.sum(1, keepdim=True)
    wanted = total.clamp(min=1, max=each)
    # takes the k-th of n starts if k m/n passes an integer, which gives m evenly spaced starts
    steps = (rank * wanted).div(total.clamp(min=1), rounding_mode="floor")
    before = ((rank - 1) * wanted).div(total.clamp(min=1), rounding_mode="floor")
    row, column = (open_ & (steps > before)).nonzero().unbind(1)
    return Starts(
        t=block.times.expand(block.mask.shape)[row, column],
        x=block.states[row, column],
        document=block.document[row],
        following=torch.stack([block.states[row, column + h] for h in horizons]),
    )


@torch.no_grad()
def iterated(
    law: Law,
    t: Float[Tensor, " start"],
    x: Float[Tensor, "start dim"],
    *,
    dt: float,
    steps: int,
    draws: int,
    seed: int,
) -> Iterator[Float[Tensor, "start draw dim"]]:
    """Yield the states of `draws` simulated paths per start, after 1, 2, …, `steps` steps.

    The law must be memoryless: it receives only the last state and the time, no token.
    """
    state = repeat(x, "start dim -> (start draw) dim", draw=draws)
    now = repeat(t, "start -> (start draw)", draw=draws)
    for step in range(steps):
        predicted = law.predict(alone(now + step * dt, state))
        state = predicted.sample(derive(seed, "step", step))[:, 0]
        yield rearrange(state, "(start draw) dim -> start draw dim", draw=draws)


@torch.no_grad()
def memoryless(law: Law, block: Trajectories, tolerance: float = 1e-3) -> bool:
    """Whether a law predicts the same mean from the last state alone, without history and token.

    The check compares predictions at the last observation of each path. It fails for filters and
    for laws that depend on the token.
    """
    last = (block.mask.long() * torch.arange(1, block.mask.shape[1] + 1)).argmax(1)
    row = torch.arange(len(last))
    t, x = block.times.expand(block.mask.shape)[row, last], block.states[row, last]
    whole, last_only = law.predict(block), law.predict(alone(t, x))
    mean, variance = whole.mean[row, last], whole.covariance().variance()
    size = variance.expand(whole.mean.shape)[row, last].sqrt()
    return bool(((mean - last_only.mean[:, 0]).abs() <= tolerance * size).all())


def alone(t: Float[Tensor, " start"], x: Float[Tensor, "start dim"]) -> Trajectories:
    """Each state as a path with a single observation and no token."""
    return Trajectories(
        states=x[:, None],
        mask=torch.ones_like(t, dtype=torch.bool)[:, None],
        times=t[:, None],
        tokens=torch.full_like(t, NO_TOKEN, dtype=torch.long)[:, None],
        document=torch.arange(len(t), device=t.device),
    )
