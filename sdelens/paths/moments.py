"""Sums of products over transitions: all that a closed-form mean needs to know of the data."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.paths.trajectories import Trajectories, Transitions, require_finite


def _no_tokens() -> Tensor:
    return torch.empty(0, dtype=torch.long)


MOST_TIMES = 512
"""On longer paths neighbouring times share an intercept: the work grows with the cube of this."""


@dataclass
class Moments:
    """Sums of products of state x, next state y, position and token over all transitions.

    Accumulated in float64, block by block, so that memory does not grow with the corpus. A row of
    `position_x` or `token_y`, say, is the sum of x or y over the transitions from that position or
    token; `times` and `tokens` name the rows. With one-hot positions and tokens these are all that
    the normal equations need.
    """

    dim: int
    times: Float[Tensor, " time"]
    tokens: Int[Tensor, " token"] = field(default_factory=_no_tokens)
    count: int = 0
    xx: Float[Tensor, "dim dim"] = field(init=False)
    xy: Float[Tensor, "dim dim"] = field(init=False)
    yy: Float[Tensor, "dim dim"] = field(init=False)
    position_count: Float[Tensor, " time"] = field(init=False)
    position_x: Float[Tensor, "time dim"] = field(init=False)
    position_y: Float[Tensor, "time dim"] = field(init=False)
    token_position: Float[Tensor, "token time"] = field(init=False)
    token_x: Float[Tensor, "token dim"] = field(init=False)
    token_y: Float[Tensor, "token dim"] = field(init=False)

    def __post_init__(self) -> None:
        dim, positions, tokens = self.dim, len(self.times), len(self.tokens)
        zeros = partial(torch.zeros, dtype=torch.float64, device=self.times.device)
        self.tokens = self.tokens.to(self.times.device)
        self.xx, self.xy, self.yy = (zeros(dim, dim) for _ in range(3))
        self.position_count = zeros(positions)
        self.position_x, self.position_y = zeros(positions, dim), zeros(positions, dim)
        self.token_position = zeros(tokens, positions)
        self.token_x, self.token_y = zeros(tokens, dim), zeros(tokens, dim)

    @classmethod
    def of(cls, blocks: Iterable[Trajectories], times: Float[Tensor, " time"]) -> "Moments":
        """The moments of all observed transitions."""
        moments: Moments | None = None
        for block in blocks:
            if moments is None:
                moments = cls(block.states.shape[-1], times.to(block.states.device))
            moments.add(require_finite(block).flat())
        if moments is None:
            raise ValueError("at least one block of paths is needed")
        return moments

    def add(self, batch: Transitions) -> None:
        """Add the products of a batch of transitions."""
        x, y = batch.x.double(), batch.following.double()
        one = torch.ones_like(x[:, 0])
        position = nearest(self.times, batch.t)
        self._admit(batch.token)
        token = torch.searchsorted(self.tokens, batch.token)
        self.count += len(x)
        self.xx += x.mT @ x
        self.xy += x.mT @ y
        self.yy += y.mT @ y
        self.position_count.index_add_(0, position, one)
        self.position_x.index_add_(0, position, x)
        self.position_y.index_add_(0, position, y)
        self.token_x.index_add_(0, token, x)
        self.token_y.index_add_(0, token, y)
        self.token_position.index_put_((token, position), one, accumulate=True)

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


def nearest(times: Float[Tensor, " time"], t: Float[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    """The index of the nearest of increasing times."""
    middles = (times[1:] + times[:-1]) / 2
    return torch.searchsorted(middles, t.to(times.dtype).contiguous())


def times_of(blocks: Iterable[Trajectories]) -> Float[Tensor, " time"]:
    """The times at which transitions start, increasing; evenly thinned to at most `MOST_TIMES`."""
    seen = [torch.unique(block.flat().t) for block in blocks]
    times: Tensor = torch.unique(torch.cat(seen))
    if len(times) <= MOST_TIMES:
        return times
    return times[torch.linspace(0, len(times) - 1, MOST_TIMES).round().long()]
