"""Paths through the depth of a model: one for each token, read from shards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from safetensors import safe_open
from torch import Tensor

from sdelens.paths.trajectories import Trajectories, Transitions, shuffled
from sdelens.seeds import generator

PIECE = 2**24
"""Numbers in a block, 64 MiB of states: documents are cut where one holds more."""


@dataclass(frozen=True, eq=False)
class DepthPaths:
    """For each recorded token its states from the embedding to the last block.

    Time counts depth: the embedding is 0, the output of block k is k + 1. `document` is that of
    the token, so that splits and errors stay by document. Within a document the paths are in the
    order of the positions.
    """

    files: tuple[Path, ...]
    sites: tuple[str, ...]
    documents: frozenset[int] | None = None
    since: Mapping[int, int] = field(default_factory=dict)
    """The first position of a document that is read, where it is not the first recorded."""
    kept: Any = None
    """What the files lie in, if it is not to stay."""

    def __iter__(self) -> Iterator[Trajectories]:
        return self._read(self.files)

    def select(self, documents: Sequence[int]) -> "DepthPaths":
        """The paths of the tokens of these documents only."""
        return replace(self, documents=frozenset(documents))

    def transitions(self, size: int, seed: int) -> Iterator[Transitions]:
        """All transitions once, shuffled within pools of blocks, the shards in shuffled order."""
        order = torch.randperm(len(self.files), generator=generator(seed, "shards")).tolist()
        return shuffled(self._read([self.files[i] for i in order]), size, seed)

    def _read(self, files: Sequence[Path]) -> Iterator[Trajectories]:
        return (block for file in files for block in self._blocks(file))

    def _blocks(self, file: Path) -> Iterator[Trajectories]:
        with safe_open(file, "pt") as shard:
            parts = (shard.get_tensor(n) for n in ("mask", "positions", "tokens", "document"))
            mask, positions, tokens, document = parts
            wanted = mask & self._wanted(document, positions)
            width = len(self.sites) * shard.get_slice(self.sites[0]).get_shape()[-1]
            for rows, columns in _pieces(mask.shape[0], mask.shape[1], width):
                here = wanted[rows, columns]
                if not here.any():
                    continue
                owner = document[rows, None].expand(here.shape)[here]
                said = tokens[rows, columns][here][:, None].expand(-1, len(self.sites))
                # get_slice reads what is asked for, where a mapped file would stay in memory
                states = [shard.get_slice(site)[rows, columns][here] for site in self.sites]
                yield Trajectories(
                    states=torch.stack(states, dim=1),
                    mask=torch.ones_like(said, dtype=torch.bool),
                    times=torch.arange(len(self.sites)).float()[None],
                    tokens=said,
                    document=owner,
                )

    def _wanted(self, document: Tensor, positions: Tensor) -> Bool[Tensor, "path time"]:
        """The tokens of the documents asked for, from where on they are."""
        numbers = document.tolist()
        first = torch.tensor([self.since.get(number, 0) for number in numbers])
        chosen = [self.documents is None or number in self.documents for number in numbers]
        found: Tensor = (positions >= first[:, None]) & torch.tensor(chosen)[:, None]
        return found


def _pieces(rows: int, columns: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Parts of a shard of no more than `PIECE` numbers, in order."""
    many = max(1, PIECE // max(1, columns * width))
    long = columns if many * columns * width <= PIECE else max(1, PIECE // width)
    for first in range(0, rows, many):
        for start in range(0, columns, long):
            yield slice(first, first + many), slice(start, start + long)
