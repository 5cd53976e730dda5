"""Captured states on disk, in token order, streamed shard by shard."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.digest import digest
from sdelens.errors import UsageError
from sdelens.origin import ModelCard, Origin
from sdelens.paths.trajectories import MappedPaths, Paths, Trajectories, Transitions, shuffled
from sdelens.protocols import Site
from sdelens.report import Figure
from sdelens.seeds import generator
from sdelens.states.depth import DepthPaths
from sdelens.states.plot import plot
from sdelens.states.shard_file import open_shard, read_rows, require_unchanged, shard_file
from sdelens.store import checksum, read_json, write_json, write_tensors
from sdelens.wording import counted

INDEX = "index.json"
VERSION = 2
"""Version of the format and of the states of an origin; part of every index and cache key."""


@dataclass(frozen=True)
class View:
    """The states of a fit: one site along the token axis, or all sites along the depth."""

    site: Site
    """The site; for the axis ``layer`` the embedding, where paths start."""
    axis: Literal["token", "layer"] = "token"

    def __str__(self) -> str:
        if self.axis == "layer":
            return "depth"
        return "embed" if self.site.kind == "embed" else f"L{self.site.layer:02d}"

    @property
    def label(self) -> str:
        """The layer in the form of the command line."""
        if self.axis == "layer":
            return "depth"
        return "embed" if self.site.kind == "embed" else str(self.site.layer)

    @property
    def clock(self) -> str:
        """The unit of time, capitalised for the start of a sentence."""
        return "Blocks" if self.axis == "layer" else "Tokens"


DEPTH = View(Site("embed"), "layer")
"""The view of a run along the depth, with one path per token."""


@dataclass(frozen=True, eq=False)
class Shard:
    """Captured states of a fixed block of documents at all sites, left-aligned."""

    states: dict[Site, Float[Tensor, "path time dim"]]
    mask: Bool[Tensor, "path time"]
    positions: Int[Tensor, "path time"]
    tokens: Int[Tensor, "path time"]
    document: Int[Tensor, " path"]

    def write(self, file: Path) -> str:
        """Write a safetensors file atomically; returns its checksum."""
        named = {str(site): states for site, states in self.states.items()}
        rest = {name: getattr(self, name) for name in ("mask", "positions", "tokens", "document")}
        write_tensors(file, named | rest)
        return checksum(file)


@dataclass(frozen=True, eq=False)
class Recording:
    """The states of all captured sites of a run, with their origin.

    A recording outside the cache is in a temporary folder, removed with it and its paths.
    """

    folder: Path
    origin: Origin
    sites: tuple[Site, ...]
    checksums: tuple[str, ...]
    """One for each shard."""
    kept: Any = None
    """Keeps the folder: a temporary one, or an entry of the cache in use."""

    def __repr__(self) -> str:
        model, views = self.origin.model, ", ".join(map(str, self.views))
        return f"<recording of {Path(model.name).name}, {views}, {model.width:,} coordinates>"

    @classmethod
    def load(cls, folder: Path) -> "Recording | None":
        """The complete recording in a folder; None if there is none.

        Raises `UsageError` if the index or a shard is not what was written.
        """
        if not (folder / INDEX).exists():
            return None
        index = read_index(folder)
        for number, written in enumerate(index["shards"]):
            require_unchanged(shard_file(folder, number), written)
        card = ModelCard(**index["origin"].pop("model"))
        return cls(
            folder=folder,
            origin=Origin(model=card, **index["origin"]),
            sites=tuple(Site(**site) for site in index["sites"]),
            checksums=tuple(index["shards"]),
        )

    def write_index(self) -> None:
        """Write the index, last, which marks the folder as complete."""
        index = {
            "origin": asdict(self.origin),
            "sites": [asdict(site) for site in self.sites],
            "shards": self.checksums,
            "version": VERSION,
        }
        write_json(self.folder / INDEX, index | {"checksum": digest(index)})

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self.checksums)

    @property
    def views(self) -> tuple[View, ...]:
        """One view for each site."""
        return tuple(View(site) for site in self.sites)

    def plot(self, layer: View | Site | int | None = None, *, documents: int = 6) -> Figure:
        """Plot the first documents' paths in two principal components."""
        view = layer if layer is not None else self.views[0]
        label = f"block {view}" if isinstance(view, int) else str(view)
        return plot(self.view(view), label, documents=documents)

    def view(self, view: View | Site | int) -> "ShardPaths | DepthPaths":
        """The paths of one site, or through all sites; an int is the output of that block."""
        if isinstance(view, View) and view.axis == "layer":
            return self.depth()
        site = Site("block", view) if isinstance(view, int) else view
        site = site.site if isinstance(site, View) else site
        if site not in self.sites:
            known = ", ".join(map(str, self.sites))
            raise UsageError(f"{site} was not captured: this recording holds {known}")
        files = tuple(shard_file(self.folder, number) for number in range(self.shards))
        return ShardPaths(files, str(site), kept=self.kept)

    def depth(self) -> DepthPaths:
        """One path per token, from the embedding through every block."""
        blocks = tuple(Site("block", k) for k in range(self.origin.model.blocks))
        if self.sites != (Site("embed"), *blocks):
            known = ", ".join(map(str, self.sites))
            raise UsageError(
                "paths through the depth need the embedding and every block, but this recording "
                f'holds {known}: capture with layers="embed,all"'
            )
        files = tuple(shard_file(self.folder, number) for number in range(self.shards))
        return DepthPaths(files, tuple(map(str, self.sites)), kept=self.kept)

    def masked(self, view: View, documents: Sequence[int], first: dict[int, int]) -> "Paths":
        """The paths of these documents, masked before position `first[document]`."""
        if view.axis == "layer":
            return replace(self.depth().select(documents), since=first)
        return trimmed(self.view(view).select(documents), first)


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a recording; raises `UsageError` unless it is what this version wrote."""
    try:
        index: dict[str, Any] = read_json(folder / INDEX)
        if (made := index.get("version", 1)) != VERSION and "sites" in index:
            which = "a later" if made > VERSION else "an earlier"
            raise UsageError(
                f"{folder} was made by {which} version of sdelens: record the states again"
            )
        if index.pop("checksum") == digest(index):
            return index
    except (OSError, AttributeError, KeyError, TypeError):
        pass
    raise UsageError(f"{folder / INDEX} is not what was written (its checksum differs)")


@dataclass(frozen=True, eq=False)
class ShardPaths:
    """The paths of one site, read shard by shard; only rows of the selected documents are read."""

    files: tuple[Path, ...]
    site: str
    documents: frozenset[int] | None = None
    kept: Any = None
    """Keeps the folder of the files."""

    def __repr__(self) -> str:
        some = "" if self.documents is None else f" of {counted(len(self.documents), 'document')}"
        return f"<paths{some} at {self.site}, in {counted(len(self.files), 'shard')}>"

    def __iter__(self) -> Iterator[Trajectories]:
        return self._read(self.files)

    def select(self, documents: Sequence[int]) -> "ShardPaths":
        """Select the paths of some documents."""
        return replace(self, documents=frozenset(documents))

    def transitions(self, size: int, seed: int) -> Iterator[Transitions]:
        """Yield every transition once, shuffled within pools of shards, shards in random order."""
        order = torch.randperm(len(self.files), generator=generator(seed, "shards")).tolist()
        return shuffled(self._read([self.files[i] for i in order]), size, seed)

    def _read(self, files: Sequence[Path]) -> Iterator[Trajectories]:
        blocks = map(self._block, files)
        return (block for block in blocks if block is not None)

    def _block(self, file: Path) -> Trajectories | None:
        """The paths of the selected documents in a shard; None if there are none."""
        with open_shard(file) as shard:
            document = shard.get_tensor("document")
            rows = self._rows(document)
            if not len(rows):
                return None
            states, mask, positions, tokens = (
                read_rows(shard, name, rows) for name in (self.site, "mask", "positions", "tokens")
            )
        return Trajectories(
            states=states,
            mask=mask,
            times=positions.float(),
            tokens=tokens,
            document=document[rows],
        )

    def _rows(self, document: Int[Tensor, " path"]) -> Int[Tensor, " chosen"]:
        if self.documents is None:
            return torch.arange(len(document))
        wanted = torch.tensor(sorted(self.documents))
        return torch.isin(document, wanted).nonzero()[:, 0]


def trimmed(paths: Paths, first: dict[int, int]) -> MappedPaths:
    """The paths without observations before time `first[document]`."""

    def trim(block: Trajectories) -> Trajectories:
        starts = torch.tensor([first.get(d, 0) for d in block.document.tolist()])
        later = block.times.expand(block.mask.shape) >= starts[:, None].to(block.times.device)
        return Trajectories(
            block.states, block.mask & later, block.times, block.tokens, block.document
        )

    return MappedPaths(paths, trim)
