"""Residual-stream states of a language model, recorded along its documents."""

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sdelens.digest import digest
from sdelens.errors import UsageError
from sdelens.model_check.check import model_check
from sdelens.models import language_model
from sdelens.origin import ModelCard, Origin, live
from sdelens.paths.documents import Document, Documents
from sdelens.paths.trajectories import NO_TOKEN
from sdelens.protocols import LanguageModel, Site
from sdelens.seeds import own_random_state
from sdelens.states.identity import hooks_of
from sdelens.states.passes import BATCH_TOKENS, passes
from sdelens.states.recording import VERSION, Recording, Shard
from sdelens.states.reference import reference_states
from sdelens.states.requirements import (
    require_moderate_states,
    require_readable,
    require_recorded,
    require_tokens,
    require_vocabulary,
    require_width,
)
from sdelens.states.shard_file import shard_file
from sdelens.states.sites import Layers, resolve_layers
from sdelens.states.state_cache import LIMIT, StateCache
from sdelens.temporary import Temporary
from sdelens.unicode_text import require_unicode

SHARD = 64
"""Documents per shard: a fixed block, so that memory does not grow with the corpus."""
SHARD_BYTES = 2**26
"""Maximum size of a shard per site; long documents or wide models get fewer documents."""


def sites_of(layers: Layers, model: LanguageModel) -> tuple[Site, ...]:
    """The sites of a layer setting."""
    return sites_in(layers, model.card)


def sites_in(layers: Layers, card: ModelCard) -> tuple[Site, ...]:
    """The sites of a layer setting in a model that need not be loaded."""
    numbers = resolve_layers(layers, card.blocks, card.name)
    return tuple(Site("embed") if k == "embed" else Site("block", int(k)) for k in numbers)


def documents_of(
    model: LanguageModel, texts: Sequence[str], *, length: int | None = None
) -> Documents:
    """One document per text: BOS if the model has one, then at most `length` tokens."""
    named = (require_unicode(text, f"text {number}") for number, text in enumerate(texts))
    return Documents.of(
        Document(tuple(encode_document(model, text, length=length))) for text in named
    )


def encode_document(model: LanguageModel, text: str, *, length: int | None = None) -> list[int]:
    """Token ids of a text with BOS in front, truncated to the context."""
    ids, bos = with_bos(model, text), model.card.bos is not None
    return ids[: model.card.context if length is None else min(bos + length, model.card.context)]


def with_bos(model: LanguageModel, text: str) -> list[int]:
    """Token ids of a whole text, without truncation, with BOS in front if the model has one.

    Raises `UsageError` for a text that is not Unicode, and for a tokenizer of another model.
    """
    bos = [] if model.card.bos is None else [model.card.bos]
    ids = model.encode(require_unicode(text, "a text"))
    require_vocabulary(model.card, torch.tensor(ids, dtype=torch.long))
    return ids if bos and ids[:1] == bos else [*bos, *ids]


def origin_of(
    model: LanguageModel, documents: Documents, sites: Sequence[Site], *, skip_first: int
) -> Origin:
    """Everything that determines the states of these documents at these sites."""
    bos = model.card.bos
    return Origin(
        model=live(model.card, hooks_of(model)) if model.hooked() else model.card,
        hook=" ".join(map(str, sites)),
        skip_first=skip_first,
        bos_prepended=bos is not None and bool((documents.padded()[:, 0] == bos).all()),
        tokens=documents.digest(),
    )


def key_of(origin: Origin) -> str:
    """The cache key of a recording, equal for equal origins.

    States under hooks have a revision of their own (`live`), so they are never reused.
    """
    return digest([VERSION, SHARD, SHARD_BYTES, origin.identity])[:24]


def on_stderr(sentence: str) -> None:
    """Print a message for a user whose progress display is unknown."""
    print(sentence, file=sys.stderr)


def record(
    model: LanguageModel,
    documents: Documents,
    sites: Sequence[Site],
    *,
    skip_first: int = 1,
    cache: Path | None = None,
    batch_tokens: int = BATCH_TOKENS,
    watch: Callable[[int], None] = lambda _: None,
    tell: Callable[[str], None] = on_stderr,
) -> Recording:
    """Capture all sites in one pass, shard by shard, or load them from the cache.

    `cache` is a folder of recordings by key; without it, the states are kept in a temporary
    folder. Recordings in the cache are verified, and damaged ones are recorded again, which `tell`
    receives as a sentence. If memory runs out, the batch is halved, down to one document.
    """
    require_readable(model, documents)
    origin = origin_of(model, documents, sites, skip_first=skip_first)
    key, entries = key_of(origin), StateCache(cache) if cache else None
    if entries and (found := _cached(entries, key, origin, tell)):
        return found
    kept = entries.temporary(key) if entries else Temporary()
    card = replace(origin.model, reference=reference_states(model))
    states = _shards(model, documents, sites, skip_first, batch_tokens, watch)
    try:
        with own_random_state(model.device):  # a user's hook may draw
            checksums = _write_shards(states, kept.folder)
        made = replace(origin, model=card)
        recording = Recording(kept.folder, made, tuple(sites), checksums, kept)
        recording.write_index()
        return _moved_to_cache(recording, entries, key, tell) if entries else recording
    except BaseException:  # an incomplete recording is useless
        kept.remove()
        raise


def _cached(
    cache: StateCache, key: str, origin: Origin, tell: Callable[[str], None]
) -> Recording | None:
    """The recording in the cache; one that cannot be used is removed."""
    cache.make_room()  # an invalid limit is reported before the states are captured
    try:
        found = cache.open(key, origin)
    except UsageError as error:
        tell(f"The cached states of {origin.model.name} are recorded again: {error}")
        found = None
    if found is None:
        cache.remove(cache.folder / key)
    return found


def _moved_to_cache(
    recording: Recording, cache: StateCache, key: str, tell: Callable[[str], None]
) -> Recording:
    """The recording moved into the cache, or the one that another process put there first."""
    if moved := cache.add(recording, key):
        return moved
    if there := _cached(cache, key, recording.origin, tell):
        recording.kept.remove()
        return there
    tell(
        f"The states are not kept for later runs: {cache.folder / key} is in use, or {LIMIT} "
        "leaves no room."
    )
    return recording


def _shards(
    model: LanguageModel,
    documents: Documents,
    sites: Sequence[Site],
    skip_first: int,
    batch_tokens: int,
    watch: Callable[[int], None],
) -> Iterator[Shard]:
    """Fixed blocks of documents, independent of the captured sites."""
    row = int(documents.lengths.max()) * model.card.width * 4
    size = min(SHARD, max(1, SHARD_BYTES // max(1, row)))
    for first in range(0, len(documents), size):
        last = min(first + size, len(documents))
        yield _shard(model, documents, first, last, sites, skip_first, batch_tokens, watch)


def _write_shards(shards: Iterator[Shard], folder: Path) -> tuple[str, ...]:
    """Write the shards; returns their checksums. Each is written while the next is computed."""
    with ThreadPoolExecutor(1) as writer:
        written: list[Future[str]] = []
        for number, shard in enumerate(shards):
            if written:
                written[-1].result()
            written.append(writer.submit(shard.write, shard_file(folder, number)))
        return tuple(each.result() for each in written)


def _shard(
    model: LanguageModel,
    documents: Documents,
    first: int,
    last: int,
    sites: Sequence[Site],
    skip_first: int,
    batch_tokens: int,
    watch: Callable[[int], None],
) -> Shard:
    """The states of documents first to last - 1 at their recorded positions."""
    block = documents.slice(first, last)
    padded, lengths = block.padded(), block.lengths
    starts = block.start.clamp(min=skip_first).minimum(lengths)
    kept = lengths - starts
    columns = torch.arange(max(1, int(kept.max())))
    mask = columns < kept[:, None]
    positions = starts[:, None] + columns
    index = positions.clamp(max=padded.shape[1] - 1)
    width = model.card.width
    states = {site: torch.zeros(len(block), len(columns), width) for site in sites}
    read_to = torch.where(kept > 0, lengths, 0)
    for rows, values in passes(model, padded, read_to, sites, batch_tokens):
        for site, value in values.items():
            row = torch.arange(len(rows))[:, None]
            require_width(value, site, model.card)
            taken = value.float().cpu()[row, index[rows].clamp(max=value.shape[1] - 1)]
            states[site][rows] = taken.where(mask[rows][..., None], 0)
            require_moderate_states(states[site][rows], site, rows + first, positions[rows])
        watch(int(lengths[rows].sum()))
    return Shard(
        states=states,
        mask=mask,
        positions=positions,
        tokens=padded.gather(1, index).masked_fill(~mask, NO_TOKEN),
        document=torch.arange(first, last),
    )


def capture(
    model: Any,
    texts: Sequence[str] | Documents,
    *,
    layers: Layers = None,
    length: int | None = None,
    skip_first: int = 1,
    cache: Path | str | None = None,
    watch: Callable[[int], None] = lambda _: None,
) -> Recording:
    """Record the states of a model along texts: `sdelens.capture(model, texts, layers="0-7")`.

    `model` is a name, a folder, a `LanguageModel`, or a model object of a supported library such
    as a `TransformerBridge`, which is used unchanged. The first `skip_first` positions of each
    context are not recorded. All layers are captured in one pass, which stops at the deepest.
    `watch` receives the number of tokens of each finished batch.
    """
    adapted = language_model(model)
    model_check(adapted).require_passed(adapted.card)
    documents = texts
    if not isinstance(documents, Documents):
        if isinstance(documents, str):
            raise UsageError("texts must be a list of strings, got a string: put it in a list")
        documents = documents_of(adapted, documents, length=length)
    require_tokens(adapted.card, documents)
    require_recorded(documents, skip_first)
    sites = sites_of(layers, adapted)
    folder = Path(cache) if cache is not None else None
    return record(adapted, documents, sites, skip_first=skip_first, cache=folder, watch=watch)
