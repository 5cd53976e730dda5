"""States captured while a user runs the model: texts put together again from forward passes."""

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
from sdelens.origin import Origin, live
from sdelens.paths.documents import Document, Documents
from sdelens.paths.trajectories import NO_TOKEN
from sdelens.protocols import ForwardRecord, Listener, Site
from sdelens.states.recording import Recording, Shard, Temporary, shard_file

SHARD = 64
"""Texts in a shard; so many wait in memory before they are written."""


@dataclass(frozen=True, eq=False)
class Row:
    """One finished text: its tokens, and its states at each site."""

    tokens: Int[Tensor, " time"]
    states: dict[Site, Float[Tensor, "time dim"]]

    def finite(self, skip_first: int) -> bool:
        """Whether no state that is recorded holds NaN or infinity."""
        return all(bool(value[skip_first:].isfinite().all()) for value in self.states.values())


@dataclass(eq=False)
class Stream:
    """The passes of one batch that go on from each other through a key-value cache."""

    passes: list[ForwardRecord] = field(default_factory=list)
    cache: Any = None
    """A weak reference: texts whose cache is gone are finished."""

    @property
    def columns(self) -> int:
        """Columns so far, padding counted."""
        return sum(one.tokens.shape[1] for one in self.passes)

    @property
    def open(self) -> bool:
        """Whether a later pass may go on from here."""
        return self.cache is not None and self.cache() is not None

    def hear(self, one: ForwardRecord) -> None:
        """One more pass; what was cut off the cache is cut off here."""
        if one.before < self.columns:
            whole = _joined(self.passes)
            self.passes = [_cut(whole, one.before)] if one.before else []
        # held here, a cache would never be gone
        self.passes.append(replace(one, went_in=None, came_out=None))
        self.cache = _weakly(one.came_out)

    def rows(self, eos: int | None, pad: int | None) -> Iterator[Row]:
        """Each text without its padding, nor what filled it up after its end."""
        whole, asked = _joined(self.passes), int(self.passes[0].tokens.shape[1])
        order = whole.real.long().argsort(dim=1, descending=True, stable=True)
        tokens = whole.tokens.gather(1, order)
        prompt, lengths = whole.real[:, :asked].sum(1), whole.real.sum(1)
        lengths = _ended(tokens, prompt, lengths, eos, pad)
        for row, length in enumerate(lengths.tolist()):
            kept = order[row, :length]
            states = {site: value[row][kept] for site, value in whole.reads.items()}
            yield Row(tokens[row, :length], states)


def _joined(passes: Sequence[ForwardRecord]) -> ForwardRecord:
    """All columns of some passes in a row."""
    return ForwardRecord(
        tokens=torch.cat([one.tokens for one in passes], dim=1),
        real=torch.cat([one.real for one in passes], dim=1),
        reads={s: torch.cat([one.reads[s] for one in passes], 1) for s in passes[0].reads},
    )


def _cut(one: ForwardRecord, columns: int) -> ForwardRecord:
    reads = {site: value[:, :columns] for site, value in one.reads.items()}
    return ForwardRecord(one.tokens[:, :columns], one.real[:, :columns], reads)


def _weakly(cache: Any) -> Any:
    with suppress(TypeError):  # a tuple, say, of which nobody can tell when it is gone
        return None if cache is None else weakref.ref(cache)
    return lambda: cache


def _ended(
    tokens: Int[Tensor, "row time"],
    prompt: Int[Tensor, " row"],
    lengths: Int[Tensor, " row"],
    eos: int | None,
    pad: int | None,
) -> Int[Tensor, " row"]:
    """The length of each row up to its EOS, where nothing but filling comes after it.

    A batch is generated until its last row ends; rows that have ended are fed the pad token.
    """
    if eos is None:
        return lengths
    columns = torch.arange(tokens.shape[1])
    filling = (tokens == eos) | (tokens == (eos if pad is None else pad))
    later = columns >= lengths[:, None]
    # from where on all is filling, but not within the prompt
    start = (columns + 1).mul(~(filling | later)).max(dim=1).values.maximum(prompt)
    at = start.clamp(max=tokens.shape[1] - 1)
    ends = (start < lengths) & (tokens.gather(1, at[:, None])[:, 0] == eos)
    return torch.where(ends, start + 1, lengths)


class LiveCapture:
    """What `Lens.record` gives: full once its block has ended, `recording` and `documents`."""

    def __init__(self, model: Listener, sites: tuple[Site, ...], skip_first: int) -> None:
        self.sites, self.skip_first = sites, skip_first
        self.left_out: dict[str, int] = {}
        """Why passes and texts were left out, and how many."""
        self._model = model
        self._streams: list[Stream] = []
        self._rows: list[Row] = []
        self._documents: list[Document] = []
        self._temporary = Temporary()
        self._shards = 0
        self._recording: Recording | None = None

    def __repr__(self) -> str:
        state = f"{len(self._documents)} texts" if self._recording else "running"
        return f"<tape of {' '.join(map(str, self.sites))}, {state}>"

    @property
    def layers(self) -> list[int | str]:
        """Its sites as `layers` names them."""
        return ["embed" if site.kind == "embed" else site.layer for site in self.sites]

    def hear(self, one: ForwardRecord) -> None:
        """One pass that the user ran, which goes on whatever becomes of its states."""
        try:
            self._hear(one)
        except Exception as error:
            self.leave_out(f"it could not be kept ({error})")

    def _hear(self, one: ForwardRecord) -> None:
        self._finish([stream for stream in self._streams if not stream.open])
        if one.before == 0:
            stream = Stream()
            self._streams.append(stream)
        else:
            found = (s for s in self._streams if s.cache and s.cache() is one.went_in)
            known = next(found, None)
            if known is None or known.columns < one.before:
                self.leave_out("it goes on from a cache that was filled before the tape ran")
                return
            stream = known
        stream.hear(one)

    def leave_out(self, reason: str) -> None:
        """A pass or a text that cannot be told."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def end(self) -> None:
        """Write what is left."""
        self._finish(self._streams)
        self._write(len(self._rows))
        if self._documents:
            origin = Origin(
                model=live(self._model.card),
                hook=" ".join(map(str, self.sites)),
                skip_first=self.skip_first,
                bos_prepended=self._all_bos(),
                tokens=self.documents.digest(),
            )
            place = self._temporary
            self._recording = Recording(place.folder, origin, self.sites, self._shards, place)
            self._recording.write_index()

    @property
    def recording(self) -> Recording:
        """The states of all texts, in the order in which they were finished."""
        if self._recording is None:
            raise self._empty()
        return self._recording

    @property
    def documents(self) -> Documents:
        """The texts, as the model read them."""
        if not self._documents:
            raise self._empty()
        return Documents.of(self._documents)

    def _empty(self) -> UsageError:
        reasons = "; ".join(f"{n} left out: {why}" for why, n in self.left_out.items())
        return UsageError(
            "the tape holds nothing: run the model inside the block, and read the tape after "
            f"it{f' ({reasons})' if reasons else ''}"
        )

    def _all_bos(self) -> bool:
        bos = self._model.card.bos
        return bos is not None and all(d.tokens[0] == bos for d in self._documents)

    def _finish(self, streams: Sequence[Stream]) -> None:
        for stream in list(streams):
            self._streams.remove(stream)
            for row in stream.rows(self._model.card.eos, self._model.pad):
                if row.finite(self.skip_first):
                    self._rows.append(row)
                else:
                    self.leave_out("its states are not finite")
        while len(self._rows) >= SHARD:
            self._write(SHARD)

    def _write(self, count: int) -> None:
        """A shard of the first rows that wait."""
        rows, self._rows = self._rows[:count], self._rows[count:]
        rows = [row for row in rows if len(row.tokens)]
        if rows:
            shard = _shard(rows, len(self._documents), self.sites, self.skip_first)
            shard.write(shard_file(self._temporary.folder, self._shards))
            self._shards += 1
            self._documents.extend(Document(tuple(row.tokens.tolist())) for row in rows)


def _shard(rows: Sequence[Row], first: int, sites: Sequence[Site], skip_first: int) -> Shard:
    """Rows as documents from number `first` on, without the positions that are skipped."""
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
    said = [row.tokens[skip_first:] for row in rows]
    tokens = pad_sequence(said, batch_first=True, padding_value=NO_TOKEN)
    tokens = tokens if tokens.shape[1] else torch.full(mask.shape, NO_TOKEN)
    document = torch.arange(first, first + len(rows))
    return Shard(states, mask, positions.contiguous(), tokens, document)


@contextmanager
def live_capture(
    model: Listener, sites: tuple[Site, ...], *, skip_first: int
) -> Iterator[LiveCapture]:
    """A tape that runs for the time of a block; what was heard is kept on any exit."""
    tape = LiveCapture(model, sites, skip_first)
    try:
        with model.listen(sites, tape.hear, tape.leave_out):
            yield tape
    except BaseException:
        with suppress(Exception):  # the error to be told is the one in the block
            tape.end()
        raise
    tape.end()
