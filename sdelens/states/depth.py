"""Paths through the depth of a model, one per token, read from shards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from einops import repeat
from jaxtyping import Bool, Int
from torch import Tensor

from sdelens.paths.trajectories import Trajectories, Transitions, shuffled
from sdelens.seeds import generator
from sdelens.states.shard_file import open_shard, read_rows

PIECE = 2**24
"""Maximum number of values in a block, 64 MiB of states; longer documents are split."""


@dataclass(frozen=True, eq=False)
class DepthPaths:
    """The states of each recorded token from the embedding to the last block.

    Time is depth: 0 for the embedding, k + 1 for the output of block k. `document` is the document
    of the token, so that splits and standard errors remain by document. Within a document, paths
    are ordered by position.
    """

    files: tuple[Path, ...]
    sites: tuple[str, ...]
    documents: frozenset[int] | None = None
    since: Mapping[int, int] = field(default_factory=dict)
    """The first position of a document that is not masked, if it is not the first recorded one."""
    kept: Any = None
    """Keeps the folder of the files."""

    def __iter__(self) -> Iterator[Trajectories]:
        return self._read(self.files)

    def select(self, documents: Sequence[int]) -> "DepthPaths":
        """Select the paths of the tokens of some documents."""
        return replace(self, documents=frozenset(documents))

    def transitions(self, size: int, seed: int) -> Iterator[Transitions]:
        """Yield every transition once, shuffled within pools of blocks, shards in random order."""
        order = torch.randperm(len(self.files), generator=generator(seed, "shards")).tolist()
        return shuffled(self._read([self.files[i] for i in order]), size, seed)

    def _read(self, files: Sequence[Path]) -> Iterator[Trajectories]:
        return (block for file in files for block in self._blocks(file))

    def _blocks(self, file: Path) -> Iterator[Trajectories]:
        with open_shard(file) as shard:
            parts = (shard.get_tensor(n) for n in ("mask", "positions", "tokens", "document"))
            mask, positions, tokens, document = parts
            wanted, later = mask & self._chosen(document), self._later(document, positions)
            width = len(self.sites) * shard.get_slice(self.sites[0]).get_shape()[-1]
            for rows, columns in _pieces(mask.shape[0], mask.shape[1], width):
                chosen = rows.start + wanted[rows, columns].any(1).nonzero()[:, 0]
                if not len(chosen):
                    continue
                here = wanted[chosen, columns]
                states = [read_rows(shard, site, chosen, columns)[here] for site in self.sites]
                ids = repeat(tokens[chosen, columns][here], "path -> path time", time=len(states))
                yield Trajectories(
                    states=torch.stack(states, dim=1),
                    mask=later[chosen, columns][here][:, None].expand(ids.shape),
                    times=torch.arange(len(self.sites)).float()[None],
                    tokens=ids,
                    document=document[chosen, None].expand(here.shape)[here],
                )

    def _chosen(self, document: Int[Tensor, " path"]) -> Bool[Tensor, "path 1"]:
        """Whether each document is selected."""
        numbers = document.tolist()
        chosen = [self.documents is None or number in self.documents for number in numbers]
        return torch.tensor(chosen)[:, None]

    def _later(
        self, document: Int[Tensor, " path"], positions: Int[Tensor, "path time"]
    ) -> Bool[Tensor, "path time"]:
        """Whether each token is at or after the first position that is not masked."""
        first = torch.tensor([self.since.get(number, 0) for number in document.tolist()])
        found: Tensor = positions >= first[:, None]
        return found


def _pieces(rows: int, columns: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Parts of a shard with at most `PIECE` values, in order."""
    many = max(1, PIECE // max(1, columns * width))
    long = columns if many * columns * width <= PIECE else max(1, PIECE // width)
    for first in range(0, rows, many):
        for start in range(0, columns, long):
            yield slice(first, first + many), slice(start, start + long)
