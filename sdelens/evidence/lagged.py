"""Transitions with their lagged states and residuals, as used by the tests of memory."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.laws.law import Law
from sdelens.paths.trajectories import Trajectories

LAGS = 2
MOST = 4_000_000
"""Maximum number of values per field; more transitions are thinned evenly."""


@dataclass(frozen=True, eq=False)
class Lagged:
    """Transitions with at least two earlier states, one row each."""

    x: Float[Tensor, "row dim"]
    before: Float[Tensor, "row lag dim"]
    """The states one and two steps earlier."""
    residual: Float[Tensor, "row dim"]
    """Next state minus the law's mean, divided by the law's standard deviation."""
    earlier: Float[Tensor, "row lag dim"]
    """The residuals one and two steps earlier."""
    group: Int[Tensor, " row"]


@torch.no_grad()
def lagged(
    law: Law, paths: Iterable[Trajectories], groups: Int[Tensor, " document"], most: int = MOST
) -> Lagged:
    """Collect the lagged transitions of latent paths, with at most `most` values per field.

    `groups` is the group of each document. Raises `UsageError` if no path has four consecutive
    observations.
    """
    blocks = list(_counts(paths))
    rows, dim = sum(count for count, _ in blocks), blocks[0][1] if blocks else 1
    if not rows:
        raise UsageError(
            "a test of memory needs paths of at least four observations in a row in training, "
            "validation and held-out documents, got shorter ones: give longer texts"
        )
    stride = math.ceil(rows * dim / most)
    parts, seen = [], 0
    for block, (count, _) in zip(paths, blocks, strict=True):
        parts.append(_rows(law, block, groups, offset=-seen % stride, stride=stride))
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
    law: Law, block: Trajectories, groups: Int[Tensor, " document"], *, offset: int, stride: int
) -> Lagged:
    x, residual = block.states, residuals(law, block)
    path, time = (index[offset::stride] for index in _usable(block).nonzero(as_tuple=True))
    lags = time[:, None] + torch.tensor([1, 0], device=time.device)
    return Lagged(
        x=x[path, time + LAGS],
        before=x[path[:, None], lags],
        residual=residual[path, time + LAGS],
        earlier=residual[path[:, None], lags],
        group=groups.to(path.device)[block.document[path]],
    )


def residuals(law: Law, block: Trajectories) -> Float[Tensor, "path step dim"]:
    """Next states minus the law's means, divided by the law's standard deviations."""
    predicted = law.predict(block)
    spread = predicted.covariance().variance().sqrt().expand(block.states.shape)
    return (block.states[:, 1:] - predicted.mean[:, :-1]) / spread[:, :-1]
