"""Transitions with their lagged states and residuals, as used by the tests of memory."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.laws.law import Law
from sdelens.paths.trajectories import Trajectories

LAGS = 2
MOST = 4_000_000
"""Maximum number of values per field; more transitions are thinned evenly."""
ROWS = 200_000
"""Maximum number of rows."""
DECAY = 0.8
"""Weight of the past in the moving averages, per step."""
WIDEST = 4.0
"""Bound on the residuals in moving averages, in standard deviations of the law."""


@dataclass(frozen=True, eq=False)
class Lagged:
    """Transitions with at least two earlier states, one row each."""

    x: Float[Tensor, "row dim"]
    before: Float[Tensor, "row past dim"]
    """The states one and two steps earlier, and an exponential moving average of all earlier."""
    residual: Float[Tensor, "row dim"]
    """Next state minus the law's mean, divided by the law's standard deviation."""
    squares: Float[Tensor, "row past dim"]
    """The same of squared residuals instead of states."""
    time: Float[Tensor, " row"]
    document: Int[Tensor, " row"]
    group: Int[Tensor, " row"]
    """Rows of a document follow each other in time."""

    def every(self, stride: int) -> "Lagged":
        """Every `stride`-th row."""
        return Lagged(**{f.name: getattr(self, f.name)[::stride] for f in fields(self)})


@torch.no_grad()
def lagged(
    law: Law,
    paths: Iterable[Trajectories],
    groups: Int[Tensor, " document"],
    *,
    at: float | None = None,
    most: int = MOST,
) -> Lagged:
    """Collect the lagged transitions of latent paths, with at most `most` values per field.

    `groups` is the group of each document; with `at`, residuals are from the law's mean at this
    time. Raises `UsageError` if no path has four consecutive observations.
    """
    blocks = list(_counts(paths))
    rows, dim = sum(count for count, _ in blocks), blocks[0][1] if blocks else 1
    if not rows:
        raise UsageError(
            "a test of memory needs paths of at least four observations in a row in training, "
            "validation and held-out documents, got shorter ones: give longer texts"
        )
    stride = math.ceil(max(rows * dim / most, rows / ROWS))
    parts, seen = [], 0
    for block, (count, _) in zip(paths, blocks, strict=True):
        residual = residuals(law, block, at=at)
        parts.append(_rows(residual, block, groups, offset=-seen % stride, stride=stride))
        seen += count
    joined = {f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Lagged)}
    return Lagged(**joined)


def _counts(paths: Iterable[Trajectories]) -> Iterator[tuple[int, int]]:
    """Number of rows and dimension of each block."""
    for block in paths:
        yield int(_usable(block).sum()), block.states.shape[-1]


def _usable(block: Trajectories) -> Bool[Tensor, "path start"]:
    """Starts of `LAGS` + 2 consecutive observations."""
    return block.observed(*range(LAGS + 2))


def _rows(
    residual: Float[Tensor, "path step dim"],
    block: Trajectories,
    groups: Int[Tensor, " document"],
    *,
    offset: int,
    stride: int,
) -> Lagged:
    x = block.states
    path, time = (index[offset::stride] for index in _usable(block).nonzero(as_tuple=True))
    at = time + LAGS
    squares = residual.clamp(-WIDEST, WIDEST).square()
    document = block.document[path]
    return Lagged(
        x=x[path, at],
        before=_past(x, block.mask, path, at),
        residual=residual[path, at],
        squares=_past(squares, block.steps, path, at),
        time=block.times.expand(block.mask.shape)[path, at],
        document=document,
        group=groups.to(path.device)[document],
    )


def _past(
    values: Float[Tensor, "path time dim"],
    seen: Bool[Tensor, "path time"],
    path: Int[Tensor, " row"],
    at: Int[Tensor, " row"],
) -> Float[Tensor, "row past dim"]:
    """Values one and two steps earlier, and the moving average of those from the second on."""
    begun = (seen.cumsum(1) > 1)[..., None]  # an average begins with the first value
    averages = [values[:, 0]]
    for time, value in enumerate(values[:, 1:].unbind(1), start=1):
        last = averages[-1]
        moved = torch.where(begun[:, time], DECAY * last + (1 - DECAY) * value, value)
        averages.append(torch.where(seen[:, time, None], moved, last))
    average = torch.stack(averages, dim=1)
    return torch.stack([values[path, at - 1], values[path, at - 2], average[path, at - 2]], dim=1)


def residuals(
    law: Law, block: Trajectories, *, at: float | None = None
) -> Float[Tensor, "path step dim"]:
    """Next states minus the law's means, divided by the law's standard deviations.

    With `at`, the mean is the one that the law has at this time.
    """
    predicted = law.predict(block)
    spread = predicted.covariance().variance().sqrt().expand(block.states.shape)
    if at is not None:
        predicted = law.predict(replace(block, times=torch.full_like(block.times, at)))
    return (block.states[:, 1:] - predicted.mean[:, :-1]) / spread[:, :-1]
