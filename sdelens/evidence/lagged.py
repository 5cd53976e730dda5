"""Transitions with the states and residuals before them: what a test of memory looks at."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.laws.law import Law
from sdelens.paths.trajectories import Trajectories

LAGS = 2
MOST = 4_000_000
"""Numbers held for each field; of more transitions every second, third, … is taken."""


@dataclass(frozen=True, eq=False)
class Lagged:
    """One row for each transition that has two states before its own."""

    x: Float[Tensor, "row dim"]
    before: Float[Tensor, "row lag dim"]
    """The states one and two steps earlier."""
    residual: Float[Tensor, "row dim"]
    """Next state less the law's mean, each coordinate by the law's standard deviation."""
    earlier: Float[Tensor, "row lag dim"]
    """The residuals one and two steps earlier."""
    group: Int[Tensor, " row"]


@torch.no_grad()
def lagged(
    law: Law, paths: Iterable[Trajectories], groups: Int[Tensor, " document"], most: int = MOST
) -> Lagged:
    """The rows of latent paths, evenly thinned to at most `most` numbers a field.

    `groups` holds the group of each document by its number. Raises `UsageError` where no path has
    four observations in a row.
    """
    blocks = list(_counts(paths))
    rows, dim = sum(count for count, _ in blocks), blocks[0][1] if blocks else 1
    if not rows:
        raise UsageError(
            "a test of memory needs paths of at least four observations in training, validation "
            "and held-out documents: give longer texts"
        )
    stride = math.ceil(rows * dim / most)
    parts, seen = [], 0
    for block, (count, _) in zip(paths, blocks, strict=True):
        parts.append(_rows(law, block, groups, offset=-seen % stride, stride=stride))
        seen += count
    joined = {f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Lagged)}
    return Lagged(**joined)


def _counts(paths: Iterable[Trajectories]) -> Iterator[tuple[int, int]]:
    """Rows and dimension of each block."""
    for block in paths:
        usable = block.mask[:, : -LAGS - 1] & block.mask[:, LAGS + 1 :]
        yield int(usable.sum()), block.states.shape[-1]


def _rows(
    law: Law, block: Trajectories, groups: Int[Tensor, " document"], *, offset: int, stride: int
) -> Lagged:
    x, residual = block.states, residuals(law, block)
    # a path is one contiguous run: where both ends are observed, all between them is
    usable = block.mask[:, : -LAGS - 1] & block.mask[:, LAGS + 1 :]
    path, time = (index[offset::stride] for index in usable.nonzero(as_tuple=True))
    lags = time[:, None] + torch.tensor([1, 0], device=time.device)
    return Lagged(
        x=x[path, time + LAGS],
        before=x[path[:, None], lags],
        residual=residual[path, time + LAGS],
        earlier=residual[path[:, None], lags],
        group=groups.to(path.device)[block.document[path]],
    )


def residuals(law: Law, block: Trajectories) -> Float[Tensor, "path step dim"]:
    """Next states less the law's means, each coordinate by the law's standard deviation."""
    predicted = law.predict(block)
    spread = predicted.covariance().variance().sqrt().expand(block.states.shape)
    return (block.states[:, 1:] - predicted.mean[:, :-1]) / spread[:, :-1]
