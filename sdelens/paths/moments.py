"""Moments of transitions: the sums of products needed to fit a mean in closed form."""

from collections.abc import Iterable
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from sdelens.paths.products import Products
from sdelens.paths.trajectories import NO_TOKEN, Trajectories, Transitions, require_finite

MOST_TIMES = 512
"""Maximum number of times with an intercept; the cost of a fit is cubic in it. On longer paths
neighbouring times share an intercept."""


class Moments(Products):
    """Sums of products of state x, next state y, position and token over all transitions.

    The sums are accumulated in float64 block by block, so memory does not grow with the corpus. A
    row of `position_x` (or `token_y`) is the sum of x (or y) over the transitions from one
    position (or token); `times` and `tokens` are the labels of the rows. States without a token
    have no token row. With one-hot positions and tokens these sums determine the normal equations.
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
        """Moments of all observed transitions."""
        moments: Moments | None = None
        for block in blocks:
            if moments is None:
                moments = cls(block.states.shape[-1], times.to(block.states.device))
            moments.add_paths(block)
        if moments is None:
            raise ValueError("at least one block of paths is needed")
        return moments

    def add_paths(self, block: Trajectories) -> None:
        """Add all observed transitions of a block.

        The products of all states are computed once; the last states of the paths are subtracted
        for x, and the first ones for y.
        """
        steps = block.steps
        starts, ends = pad(steps, (0, 2)), pad(steps, (1, 1))
        # with a column of zeros after each path, consecutive rows are transitions
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
        """Add a batch of transitions."""
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
        """Add rows to the sums by position and token; rows without one are dropped."""
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
        """Add rows for new tokens."""
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
    """Sums of rows by group; the group one past the last is dropped."""
    sums: Tensor = pad(torch.zeros_like(like), (0, 0, 0, 1)).index_add_(0, group, rows)
    return sums[:-1]


def nearest(times: Float[Tensor, " time"], t: Float[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    """Index of the nearest time to each t; `times` are increasing."""
    middles = (times[1:] + times[:-1]) / 2
    return torch.searchsorted(middles, t.to(times.dtype).contiguous())


def times_of(blocks: Iterable[Trajectories]) -> Float[Tensor, " time"]:
    """Increasing times at which transitions start, evenly thinned to at most `MOST_TIMES`."""
    seen = [
        torch.unique(block.times.expand(block.mask.shape)[:, :-1][block.steps]) for block in blocks
    ]
    times: Tensor = torch.unique(torch.cat(seen))
    if len(times) <= MOST_TIMES:
        return times
    return times[torch.linspace(0, len(times) - 1, MOST_TIMES).round().long()]
