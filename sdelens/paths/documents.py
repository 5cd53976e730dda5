"""Documents: token sequences with prompts, groups and annotations."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sdelens.errors import UsageError
from sdelens.paths.trajectories import NO_TOKEN

NOTE = "annotation."
"""Prefix of the names of annotations in saved tensors."""


@dataclass(frozen=True)
class Document:
    """Token ids of one context, and the position from which its states are recorded."""

    tokens: tuple[int, ...]
    start: int = 0
    """First position that belongs to the path, for example the first one after a prompt."""
    group: int | None = None
    """Documents of one group are on the same side of the split; None is a group of its own."""
    annotations: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Additional numbers about the document by name, for example ratings."""


@dataclass(frozen=True, eq=False)
class Documents:
    """Many documents with their tokens concatenated."""

    tokens: Int[Tensor, " token"]
    offsets: Int[Tensor, " bound"]
    """Document i is ``tokens[offsets[i] : offsets[i + 1]]``."""
    start: Int[Tensor, " document"]
    group: Int[Tensor, " document"]
    annotations: Mapping[str, Float[Tensor, " document"]] = field(default_factory=dict)
    """Annotations by name, NaN if missing. Neither the states nor the digest depend on them."""

    @classmethod
    def of(cls, documents: Iterable[Document]) -> "Documents":
        """Concatenate documents; each document without a group becomes a group of its own."""
        listed = list(documents)
        if not listed:
            raise UsageError("at least one document is needed, got none: is the source empty?")
        lengths = torch.tensor([0, *(len(document.tokens) for document in listed)])
        fresh = 1 + max((d.group for d in listed if d.group is not None), default=-1)
        groups = [fresh + i if d.group is None else d.group for i, d in enumerate(listed)]
        return cls(
            tokens=torch.tensor([t for document in listed for t in document.tokens]).long(),
            offsets=lengths.cumsum(0),
            start=torch.tensor([document.start for document in listed]),
            group=torch.tensor(groups),
            annotations=_columns([document.annotations for document in listed]),
        )

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor]) -> "Documents":
        """Restore from the result of `tensors`."""
        own = {k: tensor for k, tensor in tensors.items() if not k.startswith(NOTE)}
        notes = {k.removeprefix(NOTE): tensors[k] for k in sorted({*tensors} - {*own})}
        return cls(**own, annotations=notes)

    def __repr__(self) -> str:
        return f"<{len(self):,} documents, {len(self.tokens):,} tokens>"

    def __len__(self) -> int:
        return len(self.start)

    def __iter__(self) -> Iterator[Document]:
        ids = self.tokens.tolist()
        bounds = self.offsets.tolist()
        spans = pairwise(bounds)
        rows = zip(spans, self.start.tolist(), self.group.tolist(), self._notes(), strict=True)
        return (Document(tuple(ids[a:b]), *rest) for (a, b), *rest in rows)

    def _notes(self) -> Iterator[dict[str, float]]:
        """Annotations of each document, without missing ones."""
        columns = {name: column.tolist() for name, column in self.annotations.items()}
        for row in range(len(self)):
            own = {name: column[row] for name, column in columns.items()}
            yield {name: value for name, value in own.items() if not math.isnan(value)}

    def slice(self, first: int, last: int) -> "Documents":
        """Documents `first` to `last` - 1."""
        low, high = int(self.offsets[first]), int(self.offsets[last])
        return Documents(
            tokens=self.tokens[low:high],
            offsets=self.offsets[first : last + 1] - low,
            start=self.start[first:last],
            group=self.group[first:last],
            annotations={name: each[first:last] for name, each in self.annotations.items()},
        )

    def regrouped(self, group: Int[Tensor, " document"]) -> "Documents":
        """The same documents in other groups."""
        return replace(self, group=group)

    @property
    def lengths(self) -> Int[Tensor, " document"]:
        """Number of tokens of each document."""
        return self.offsets.diff()

    def padded(self) -> Int[Tensor, "document time"]:
        """Token ids with one row per document, padded on the right with -1."""
        rows = torch.split(self.tokens, self.lengths.tolist())
        padded = pad_sequence(list(rows), batch_first=True, padding_value=NO_TOKEN)
        # at least one column, even if all documents are empty
        return padded if padded.shape[1] else torch.full((len(self), 1), NO_TOKEN)

    def digest(self) -> str:
        """SHA-256 of the token ids, offsets, starts and groups."""
        parts = (self.tokens, self.offsets, self.start, self.group)
        return sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, as saved."""
        names = ("tokens", "offsets", "start", "group")
        notes = {f"{NOTE}{name}": column for name, column in self.annotations.items()}
        return {name: getattr(self, name) for name in names} | notes


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, Float[Tensor, " document"]]:
    """One column per name in alphabetical order, NaN if missing."""
    names = sorted({name for row in rows for name in row})
    return {
        name: torch.tensor([row.get(name, math.nan) for row in rows], dtype=torch.float64)
        for name in names
    }
