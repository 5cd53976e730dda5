"""Captured states on disk, in token order, streamed shard by shard."""

import shutil
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from safetensors import safe_open
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.origin import ModelCard, Origin
from sdelens.paths.trajectories import MappedPaths, Paths, Trajectories, Transitions, shuffled
from sdelens.protocols import Site
from sdelens.report import Figure
from sdelens.seeds import generator
from sdelens.states.depth import DepthPaths
from sdelens.states.plot import plot
from sdelens.states.read_rows import read_rows
from sdelens.store import read_json, write_json, write_tensors

INDEX = "index.json"


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

    def write(self, file: Path) -> None:
        """Write a safetensors file atomically."""
        named = {str(site): states for site, states in self.states.items()}
        rest = {name: getattr(self, name) for name in ("mask", "positions", "tokens", "document")}
        write_tensors(file, named | rest)


class Temporary:
    """A temporary folder, removed when nothing refers to it any more."""

    def __init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="sdelens-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


@dataclass(frozen=True, eq=False)
class Recording:
    """The states of all captured sites of a run, with their origin.

    A recording outside the cache is in a temporary folder, removed with it and its paths.
    """

    folder: Path
    origin: Origin
    sites: tuple[Site, ...]
    shards: int
    temporary: Temporary | None = None

    @classmethod
    def load(cls, folder: Path) -> "Recording | None":
        """The complete recording in a folder; None if there is none."""
        if not (folder / INDEX).exists():
            return None
        index = read_json(folder / INDEX)
        card = ModelCard.of(index["origin"].pop("model"))
        if not all(shard_file(folder, number).exists() for number in range(index["shards"])):
            return None
        return cls(
            folder=folder,
            origin=Origin(model=card, **index["origin"]),
            sites=tuple(Site(**site) for site in index["sites"]),
            shards=index["shards"],
        )

    def write_index(self) -> None:
        """Write the index, last, which marks the folder as complete."""
        index = {
            "origin": asdict(self.origin),
            "sites": [asdict(site) for site in self.sites],
            "shards": self.shards,
        }
        write_json(self.folder / INDEX, index)

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
        return ShardPaths(files, str(site), kept=self.temporary)

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
        return DepthPaths(files, tuple(map(str, self.sites)), kept=self.temporary)

    def masked(self, view: View, documents: Sequence[int], first: dict[int, int]) -> "Paths":
        """The paths of these documents, masked before position `first[document]`."""
        if view.axis == "layer":
            return replace(self.depth().select(documents), since=first)
        return trimmed(self.view(view).select(documents), first)


def shard_file(folder: Path, number: int) -> Path:
    """The file of a shard."""
    return folder / f"shard-{number:05d}.safetensors"


@dataclass(frozen=True, eq=False)
class ShardPaths:
    """The paths of one site, read shard by shard; only rows of the selected documents are read."""

    files: tuple[Path, ...]
    site: str
    documents: frozenset[int] | None = None
    kept: Temporary | None = None
    """Keeps the temporary folder of the files alive."""

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
        with safe_open(file, "pt") as shard:
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
