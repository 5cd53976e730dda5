"""Stacks of several data sets, to fit a law to each in one batched computation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import repeat

import torch

from sdelens.paths.trajectories import Paths, Transitions


@dataclass(frozen=True, eq=False)
class StackedPaths:
    """One data set per member; the fields of a batch are ``[member, batch, …]``."""

    members: tuple[Paths, ...]

    def transitions(self, size: int, seeds: Sequence[int]) -> Iterator[Transitions]:
        """Batches of transitions, shuffled independently for each member.

        An epoch ends with the member that has the fewest transitions, so a few random transitions
        of the other members are left out.
        """
        pairs = zip(self.members, seeds, strict=True)
        feeds = [paths.transitions(size, seed) for paths, seed in pairs]
        return map(_stack, zip(*feeds, strict=False))

    def in_order(self, size: int) -> Iterator[Transitions]:
        """All transitions in order; all members must have the same documents."""
        if all(paths is self.members[0] for paths in self.members):
            return map(_expand, in_order(self.members[0], size), repeat(len(self.members)))
        feeds = [in_order(paths, size) for paths in self.members]
        return map(_stack, zip(*feeds, strict=True))


def in_order(paths: Paths, size: int) -> Iterator[Transitions]:
    """All transitions in batches, block by block in the original order."""
    for block in paths:
        flat = block.flat()
        pieces = (torch.split(getattr(flat, field.name), size) for field in fields(flat))
        for parts in zip(*pieces, strict=True):
            if len(parts[0]):
                yield Transitions(*parts)


def _stack(batches: Sequence[Transitions]) -> Transitions:
    """Stack one batch per member, cut to the shortest."""
    size = min(len(batch.t) for batch in batches)
    names = (field.name for field in fields(Transitions))
    return Transitions(
        *(torch.stack([getattr(batch, name)[:size] for batch in batches]) for name in names)
    )


def _expand(batch: Transitions, members: int) -> Transitions:
    """Repeat a batch for every member."""
    values = (getattr(batch, field.name) for field in fields(Transitions))
    return Transitions(*(value.expand(members, *value.shape) for value in values))
