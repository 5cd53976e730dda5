"""Sums of products over transitions: all that a closed-form mean needs to know of the data."""

from collections.abc import Iterable
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from sdelens.paths.products import Products
from sdelens.paths.trajectories import NO_TOKEN, Trajectories, Transitions, require_finite

MOST_TIMES = 512
"""On longer paths neighbouring times share an intercept: the work grows with the cube of this."""


class Moments(Products):
    """Sums of products of state x, next state y, position and token over all transitions.

    Accumulated in float64, block by block, so that memory does not grow with the corpus. A row of
    `position_x` or `token_y`, say, is the sum of x or y over the transitions from that position or
    token; `times` and `tokens` name the rows. States without a token have no row. With one-hot
    positions and tokens these are all that the normal equations need.
    """

    position_count: Float[Tensor, " time"]
    position_x: Float[Tensor, "time dim"]
    position_y: Float[Tensor, "time dim"]
    token_position: Float[Tensor, "token time"]
    token_x: Float[Tensor, "token dim"]
    token_y: Float[Tensor, "token dim"]

    def __init__(self, dim: int, times: Float[Tensor, " time"]) -> None:
        zeros = partial(torch.zeros, dtype=torch.float64, device=times.device)
        super().__init__(zeros(dim, dim), zeros(dim, dim), zeros(dim, dim))
        self.dim, self.times = dim, times
        self.tokens = torch.empty(0, dtype=torch.long, device=times.device)
        self.position_count = zeros(len(times))
        self.position_x, self.position_y = zeros(len(times), dim), zeros(len(times), dim)
        self.token_position = zeros(0, len(times))
        self.token_x, self.token_y = zeros(0, dim), zeros(0, dim)

    @classmethod
    def of(cls, blocks: Iterable[Trajectories], times: Float[Tensor, " time"]) -> "Moments":
        """The moments of all observed transitions."""
        moments: Moments | None = None
        for block in blocks:
            if moments is None:
                moments = cls(block.states.shape[-1], times.to(block.states.device))
            moments.add_paths(block)
        if moments is None:
            raise ValueError("at least one block of paths is needed")
        return moments

    def add_paths(self, block: Trajectories) -> None:
        """Add all observed transitions of a block, each state read once for both of its parts.

        What is only the last of a path is taken off for x, what is only the first for y.
        """
        steps = block.steps
        starts, ends = pad(steps, (0, 2)), pad(steps, (1, 1))
        # a column of zeros after each path: rows that follow one another are transitions
        states = torch.empty(*starts.shape, self.dim, dtype=torch.float64, device=steps.device)
        states[:, :-1], states[:, -1] = block.states, 0
        states.masked_fill_(~(starts | ends)[..., None], 0)
        rows = states.flatten(0, 1)
        first, last = states[starts & ~ends], states[ends & ~starts]
        squares = rows.mT @ rows
        if not squares.diagonal().isfinite().all():
            require_finite(block)
        self.xx += squares - last.mT @ last
        self.xy += rows[:-1].mT @ rows[1:]
        self.yy += squares - first.mT @ first
        self.count += int(steps.sum())
        times = pad(block.times.expand(block.mask.shape), (0, 1))
        labels = (each.flatten()[:-1] for each in (times, pad(block.tokens, (0, 1)), starts))
        self._add_groups(rows[:-1], rows[1:], *labels)

    def add(self, batch: Transitions) -> None:
        """Add the products of a batch of transitions."""
        x, y = batch.x.double(), batch.following.double()
        self.add_rows(x, y)
        self._add_groups(x, y, batch.t, batch.token, torch.ones_like(batch.token).bool())

    def _add_groups(
        self,
        x: Float[Tensor, "row dim"],
        y: Float[Tensor, "row dim"],
        t: Float[Tensor, " row"],
        token: Int[Tensor, " row"],
        observed: Bool[Tensor, " row"],
    ) -> None:
        """Add to the sums by position and by token; rows that have none go to one dropped."""
        place = nearest(self.times, t).where(observed, len(self.times))
        self.position_x += _grouped(x, place, self.position_x)
        self.position_y += _grouped(y, place, self.position_y)
        self.position_count += torch.bincount(place, minlength=len(self.times) + 1)[:-1]
        said = observed & (token != NO_TOKEN)
        if not said.any():
            return
        self._admit(token[said])
        kind = torch.searchsorted(self.tokens, token).where(said, len(self.tokens))
        self.token_x += _grouped(x, kind, self.token_x)
        self.token_y += _grouped(y, kind, self.token_y)
        pairs = (kind * len(self.times) + place)[said]
        counts = torch.bincount(pairs, minlength=self.token_position.numel())
        self.token_position += counts.view(self.token_position.shape)

    def _admit(self, tokens: Int[Tensor, " batch"]) -> None:
        """Make rows for tokens not seen before."""
        known = torch.unique(torch.cat([self.tokens, tokens]))
        if len(known) == len(self.tokens):
            return
        rows = torch.searchsorted(known, self.tokens)
        for name in ("token_x", "token_y", "token_position"):
            old = getattr(self, name)
            grown = old.new_zeros(len(known), old.shape[1])
            grown[rows] = old
            setattr(self, name, grown)
        self.tokens = known


def _grouped(
    rows: Float[Tensor, "row dim"], group: Int[Tensor, " row"], like: Float[Tensor, "group dim"]
) -> Float[Tensor, "group dim"]:
    """The sums of rows by group, without those of the group one past the last."""
    sums: Tensor = pad(torch.zeros_like(like), (0, 0, 0, 1)).index_add_(0, group, rows)
    return sums[:-1]


def nearest(times: Float[Tensor, " time"], t: Float[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    """The index of the nearest of increasing times."""
    middles = (times[1:] + times[:-1]) / 2
    return torch.searchsorted(middles, t.to(times.dtype).contiguous())


def times_of(blocks: Iterable[Trajectories]) -> Float[Tensor, " time"]:
    """The times at which transitions start, increasing; evenly thinned to at most `MOST_TIMES`."""
    seen = [
        torch.unique(block.times.expand(block.mask.shape)[:, :-1][block.steps]) for block in blocks
    ]
    times: Tensor = torch.unique(torch.cat(seen))
    if len(times) <= MOST_TIMES:
        return times
    return times[torch.linspace(0, len(times) - 1, MOST_TIMES).round().long()]
