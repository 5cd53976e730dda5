"""Values of every transition of some paths, one row each, collected block by block."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.paths.trajectories import Trajectories


def transition_documents(block: Trajectories) -> Int[Tensor, " row"]:
    """The document of each transition, in the order of `Trajectories.flat`."""
    return block.document[:, None].expand(block.steps.shape)[block.steps]


def transition_times(block: Trajectories) -> Float[Tensor, " row"]:
    """The time at which each transition starts, in the order of `Trajectories.flat`."""
    return block.times.expand(block.mask.shape)[:, :-1][block.steps]


def concatenate_columns(rows: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Concatenate the columns of all blocks, on the CPU; raises `ValueError` without blocks."""
    if not rows:
        raise ValueError("at least one path with a transition is needed")
    columns = zip(*rows, strict=True)
    return tuple(torch.cat([part.cpu() for part in column]) for column in columns)
