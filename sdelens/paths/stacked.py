"""Several data sets side by side, so that one batched computation fits a law to each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import repeat

import torch

from sdelens.paths.trajectories import Paths, Transitions


@dataclass(frozen=True, eq=False)
class StackedPaths:
    """Paths of each member; a batch has fields ``[member, batch, …]``."""

    members: tuple[Paths, ...]

    def transitions(self, size: int, seeds: Sequence[int]) -> Iterator[Transitions]:
        """Shuffled batches, each member's in an order of its own.

        An epoch ends with the member of fewest transitions; of the others a few, drawn at random,
        are left out of it.
        """
        pairs = zip(self.members, seeds, strict=True)
        feeds = [paths.transitions(size, seed) for paths, seed in pairs]
        return map(_stack, zip(*feeds, strict=False))

    def in_order(self, size: int) -> Iterator[Transitions]:
        """All transitions in order; the members' paths must be of the same documents."""
        if all(paths is self.members[0] for paths in self.members):
            return map(_expand, in_order(self.members[0], size), repeat(len(self.members)))
        feeds = [in_order(paths, size) for paths in self.members]
        return map(_stack, zip(*feeds, strict=True))


def in_order(paths: Paths, size: int) -> Iterator[Transitions]:
    """All transitions in batches, block by block, in their own order."""
    for block in paths:
        flat = block.flat()
        pieces = (torch.split(getattr(flat, field.name), size) for field in fields(flat))
        for parts in zip(*pieces, strict=True):
            if len(parts[0]):
                yield Transitions(*parts)


def _stack(batches: Sequence[Transitions]) -> Transitions:
    """One batch for all members, as long as the shortest."""
    size = min(len(batch.t) for batch in batches)
    names = (field.name for field in fields(Transitions))
    return Transitions(
        *(torch.stack([getattr(batch, name)[:size] for batch in batches]) for name in names)
    )


def _expand(batch: Transitions, members: int) -> Transitions:
    """The same batch for every member."""
    values = (getattr(batch, field.name) for field in fields(Transitions))
    return Transitions(*(value.expand(members, *value.shape) for value in values))
