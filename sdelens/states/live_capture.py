"""States captured while a user runs the model; texts are reassembled from forward passes."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sdelens.errors import UsageError
from sdelens.model_protocols import ForwardRecord, Listener, NamedHooks
from sdelens.origin import Origin, live
from sdelens.paths.documents import Document, Documents
from sdelens.paths.trajectories import NO_TOKEN
from sdelens.protocols import Site
from sdelens.states.recording import Recording, Shard
from sdelens.states.requirements import LARGEST, moderate
from sdelens.states.shard_file import shard_file
from sdelens.temporary import Temporary

SHARD = 64
"""Texts per shard; they stay in memory until a shard is full."""


@dataclass(frozen=True, eq=False)
class Row:
    """A finished text: its tokens, and its states at each site."""

    tokens: Int[Tensor, " time"]
    states: dict[Site, Float[Tensor, "time dim"]]

    def moderate(self, skip_first: int) -> bool:
        """Whether all recorded states are finite and not very large."""
        return all(bool(moderate(value[skip_first:]).all()) for value in self.states.values())


@dataclass(eq=False)
class Stream:
    """Consecutive forward passes of one batch, linked by a key-value cache."""

    passes: list[ForwardRecord] = field(default_factory=list)
    cache: Any = None
    """Weak reference to the cache; the texts are finished once it is garbage-collected."""

    @property
    def columns(self) -> int:
        """Number of columns so far, padding included."""
        return sum(one.tokens.shape[1] for one in self.passes)

    @property
    def open(self) -> bool:
        """Whether a later pass may continue these texts."""
        return self.cache is not None and self.cache() is not None

    def add(self, one: ForwardRecord) -> None:
        """Add a pass; columns that were removed from the cache are removed here too."""
        if one.before < self.columns:
            whole = _concatenate(self.passes)
            self.passes = [_truncate(whole, one.before)] if one.before else []
        # a strong reference would keep the cache alive
        self.passes.append(replace(one, went_in=None, came_out=None))
        self.cache = _weakly(one.came_out)

    def rows(self, eos: int | None, pad: int | None) -> Iterator[Row]:
        """Yield the texts without padding and without fill tokens after their end."""
        whole, first = _concatenate(self.passes), int(self.passes[0].tokens.shape[1])
        order = whole.real.long().argsort(dim=1, descending=True, stable=True)
        tokens = whole.tokens.gather(1, order)
        prompt, lengths = whole.real[:, :first].sum(1), whole.real.sum(1)
        lengths = _lengths_to_eos(tokens, prompt, lengths, eos, pad)
        for row, length in enumerate(lengths.tolist()):
            kept = order[row, :length]
            states = {site: value[row][kept] for site, value in whole.reads.items()}
            yield Row(tokens[row, :length], states)


def _concatenate(passes: Sequence[ForwardRecord]) -> ForwardRecord:
    """Concatenate the columns of consecutive passes."""
    return ForwardRecord(
        tokens=torch.cat([one.tokens for one in passes], dim=1),
        real=torch.cat([one.real for one in passes], dim=1),
        reads={s: torch.cat([one.reads[s] for one in passes], 1) for s in passes[0].reads},
    )


def _truncate(one: ForwardRecord, columns: int) -> ForwardRecord:
    reads = {site: value[:, :columns] for site, value in one.reads.items()}
    return ForwardRecord(one.tokens[:, :columns], one.real[:, :columns], reads)


def _weakly(cache: Any) -> Any:
    with suppress(TypeError):  # some caches, such as tuples, cannot be weakly referenced
        return None if cache is None else weakref.ref(cache)
    return lambda: cache


def _lengths_to_eos(
    tokens: Int[Tensor, "row time"],
    prompt: Int[Tensor, " row"],
    lengths: Int[Tensor, " row"],
    eos: int | None,
    pad: int | None,
) -> Int[Tensor, " row"]:
    """The length of each row up to its EOS if only fill tokens follow it.

    A batch is generated until its last row ends; finished rows receive the pad token.
    """
    if eos is None:
        return lengths
    columns = torch.arange(tokens.shape[1])
    filling = (tokens == eos) | (tokens == (eos if pad is None else pad))
    later = columns >= lengths[:, None]
    # the first column of the trailing fill tokens, not within the prompt
    start = (columns + 1).mul(~(filling | later)).max(dim=1).values.maximum(prompt)
    at = start.clamp(max=tokens.shape[1] - 1)
    ends = (start < lengths) & (tokens.gather(1, at[:, None])[:, 0] == eos)
    return torch.where(ends, start + 1, lengths)


class LiveCapture:
    """States captured by `Lens.record`; `recording` and `documents` are set after its block."""

    def __init__(self, model: Listener, sites: tuple[Site, ...], skip_first: int) -> None:
        self.sites, self.skip_first = sites, skip_first
        self.skipped: dict[str, int] = {}
        """Number of passes and texts that were not captured, by reason."""
        self._model = model
        self._streams: list[Stream] = []
        self._rows: list[Row] = []
        self._documents: list[Document] = []
        self._temporary = Temporary()
        self._checksums: list[str] = []
        self._hooks: dict[str, None] = {}
        self._recording: Recording | None = None

    def __repr__(self) -> str:
        state = f"{len(self._documents)} texts" if self._recording else "running"
        return f"<live capture of {' '.join(map(str, self.sites))}, {state}>"

    @property
    def layers(self) -> list[int | str]:
        """The captured sites in the form of the `layers` setting."""
        return ["embed" if site.kind == "embed" else site.layer for site in self.sites]

    def add(self, one: ForwardRecord) -> None:
        """Add a forward pass of the user, without ever interrupting it."""
        try:
            self._add(one)
        except Exception as error:
            self.skip(f"it could not be stored ({error})")

    def _add(self, one: ForwardRecord) -> None:
        self._finish([stream for stream in self._streams if not stream.open])
        if one.before == 0:
            if isinstance(self._model, NamedHooks):  # the user may set them between texts
                self._hooks |= dict.fromkeys(self._model.hooks())
            stream = Stream()
            self._streams.append(stream)
        else:
            found = (s for s in self._streams if s.cache and s.cache() is one.went_in)
            known = next(found, None)
            if known is None or known.columns < one.before:
                self.skip("it continues a cache that was filled before the capture started")
                return
            stream = known
        stream.add(one)

    def skip(self, reason: str) -> None:
        """Count a pass or a text that cannot be captured."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def end(self) -> None:
        """Finish all texts and write the index."""
        self._finish(self._streams)
        self._write(len(self._rows))
        if self._documents:
            origin = Origin(
                model=live(self._model.card, tuple(self._hooks)),
                hook=" ".join(map(str, self.sites)),
                skip_first=self.skip_first,
                bos_prepended=self._all_bos(),
                tokens=self.documents.digest(),
            )
            place = self._temporary
            checksums = tuple(self._checksums)
            self._recording = Recording(place.folder, origin, self.sites, checksums, place)
            self._recording.write_index()

    @property
    def recording(self) -> Recording:
        """The states of all texts, in the order in which they finished."""
        if self._recording is None:
            raise self._empty()
        return self._recording

    @property
    def documents(self) -> Documents:
        """The texts as the model read them."""
        if not self._documents:
            raise self._empty()
        return Documents.of(self._documents)

    def _empty(self) -> UsageError:
        reasons = "; ".join(f"{n} skipped: {why}" for why, n in self.skipped.items())
        return UsageError(
            "nothing was captured: run the model inside the with block, and use the capture "
            f"after it{f' ({reasons})' if reasons else ''}"
        )

    def _all_bos(self) -> bool:
        bos = self._model.card.bos
        return bos is not None and all(d.tokens[0] == bos for d in self._documents)

    def _finish(self, streams: Sequence[Stream]) -> None:
        for stream in list(streams):
            self._streams.remove(stream)
            for row in stream.rows(self._model.card.eos, self._model.pad):
                if row.moderate(self.skip_first):
                    self._rows.append(row)
                else:
                    self.skip(f"its states are not finite, or exceed {LARGEST:g}")
        while len(self._rows) >= SHARD:
            self._write(SHARD)

    def _write(self, count: int) -> None:
        """Write the first `count` waiting rows as a shard."""
        rows, self._rows = self._rows[:count], self._rows[count:]
        rows = [row for row in rows if len(row.tokens)]
        if rows:
            shard = _shard(rows, len(self._documents), self.sites, self.skip_first)
            file = shard_file(self._temporary.folder, len(self._checksums))
            self._checksums.append(shard.write(file))
            self._documents.extend(Document(tuple(row.tokens.tolist())) for row in rows)


def _shard(rows: Sequence[Row], first: int, sites: Sequence[Site], skip_first: int) -> Shard:
    """Rows as documents numbered from `first`, without the skipped positions."""
    kept = torch.tensor([max(0, len(row.tokens) - skip_first) for row in rows])
    columns = torch.arange(max(1, int(kept.max())))
    mask: Bool[Tensor, "path time"] = columns < kept[:, None]
    positions = (columns + skip_first).expand(mask.shape)
    states = {}
    for site in sites:
        padded = pad_sequence([row.states[site][skip_first:] for row in rows], batch_first=True)
        states[site] = (
            padded if padded.shape[1] else padded.new_zeros(*mask.shape, padded.shape[2])
        )
    ids = [row.tokens[skip_first:] for row in rows]
    tokens = pad_sequence(ids, batch_first=True, padding_value=NO_TOKEN)
    tokens = tokens if tokens.shape[1] else torch.full(mask.shape, NO_TOKEN)
    document = torch.arange(first, first + len(rows))
    return Shard(states, mask, positions.contiguous(), tokens, document)


@contextmanager
def live_capture(
    model: Listener, sites: tuple[Site, ...], *, skip_first: int
) -> Iterator[LiveCapture]:
    """Capture for the duration of a `with` block; captured passes are kept on any exit."""
    capture = LiveCapture(model, sites, skip_first)
    try:
        with model.listen(sites, capture.add, capture.skip):
            yield capture
    except BaseException:
        with suppress(Exception):  # the error of the block is the one to report
            capture.end()
        raise
    capture.end()
