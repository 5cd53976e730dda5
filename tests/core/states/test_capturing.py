"""Capture, against plain forward hooks on the blocks of the same model."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

import sdelens
from sdelens.errors import BadNumbers, OutOfMemory, UsageError
from sdelens.origin import ModelCard
from sdelens.paths.documents import Document, Documents
from sdelens.protocols import LanguageModel, Site
from sdelens.states.capturing import documents_of, encode_document, record, sites_of
from sdelens.states.passes import BATCH_TOKENS, passes

TEXTS = ["The cat sat on the mat.", "Oh!", "ROMEO: But soft, what light is it?", "a b c d e f"]
# float32 sums in another order: 1e-6 of the largest state, and some for depth
CLOSE = 1e-5


@dataclass(frozen=True, eq=False)
class Wrapped:
    """A real model with one thing changed about how it runs."""

    inner: LanguageModel
    rows: int = 10**9
    """More rows in a batch than this do not fit its memory."""
    spoilt: int | None = None
    """The token after which states are not numbers."""

    library, device = "", torch.device("cpu")

    def hooked(self):
        return False

    @property
    def card(self) -> ModelCard:
        return self.inner.card

    def encode(self, text):
        return self.inner.encode(text)

    def decode(self, ids):
        return self.inner.decode(ids)

    def untrained(self, seed):
        return self.inner.untrained(seed)

    def run(self, tokens, **how: Any):
        if len(tokens) > self.rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        out = self.inner.run(tokens, **how)
        if self.spoilt is None:
            return out
        bad = (tokens == self.spoilt)[..., None]
        reads = {site: value.masked_fill(bad, torch.nan) for site, value in out.reads.items()}
        return replace(out, reads=reads)


def paths_of(recording, site):
    """Each document's states, unpadded."""
    return {
        int(d): states[mask]
        for block in recording.view(site)
        for d, states, mask in zip(block.document, block.states, block.mask, strict=True)
    }


def difference(one, other):
    assert one.keys() == other.keys()
    scale = max(float(states.abs().max()) for states in other.values() if len(states))
    return max(
        float((one[d] - other[d]).abs().max()) / scale for d in one if len(one[d]) == len(other[d])
    )


@pytest.fixture(scope="module")
def documents(char_gpt2):
    return documents_of(char_gpt2, TEXTS)


def test_states_of_all_layers_come_from_one_call(shared_model):
    recording = sdelens.capture(shared_model, TEXTS, layers="embed,all")
    count = shared_model.card.blocks
    assert recording.sites == (Site("embed"), *(Site("block", k) for k in range(count)))
    ids = [encode_document(shared_model, text) for text in TEXTS]
    paths = paths_of(recording, Site("block", count - 1))
    assert {d: len(states) for d, states in paths.items()} == {
        d: len(row) - 1 for d, row in enumerate(ids)
    }
    assert all(states.dtype == torch.float32 for states in paths.values())


def test_the_states_do_not_depend_on_batch_or_padding(shared_model):
    documents = documents_of(shared_model, TEXTS)
    sites = sites_of("embed,all", shared_model)
    alone = record(shared_model, documents, sites, batch_tokens=1)
    for batch_tokens in (60, 4096):
        together = record(shared_model, documents, sites, batch_tokens=batch_tokens)
        for site in sites:
            assert difference(paths_of(together, site), paths_of(alone, site)) < CLOSE


def test_capturing_twice_gives_the_same_bytes(char_gpt2, documents):
    site = Site("block", 3)
    one, two = (record(char_gpt2, documents, [site]) for _ in range(2))
    assert one.view(site).files[0].read_bytes() == two.view(site).files[0].read_bytes()


def test_a_layer_does_not_depend_on_what_else_is_asked_for(char_gpt2, documents):
    site = Site("block", 1)
    alone = record(char_gpt2, documents, [site])
    among = record(char_gpt2, documents, sites_of("embed,all", char_gpt2))
    assert difference(paths_of(among, site), paths_of(alone, site)) == 0


def test_bos_is_prepended_exactly_once(stories):
    bos = stories.card.bos
    for text in ("Once upon", "<s>Once upon"):
        ids = encode_document(stories, text)
        assert ids[0] == bos
        assert ids.count(bos) == 1
        assert ids[1:] == stories.encode("Once upon")


def test_it_is_recorded_whether_bos_was_prepended(stories):
    bos = stories.card.bos
    with_bos = sdelens.capture(stories, ["Once upon a time"], layers=0)
    assert with_bos.origin.bos_prepended
    without = Documents.of([Document((bos, 5, 6, 7)), Document((5, 6, 7))])
    assert not sdelens.capture(stories, without, layers=0).origin.bos_prepended


def test_length_counts_tokens_after_bos_and_never_passes_the_context(char_gpt2):
    text = "x" * 100
    assert len(encode_document(char_gpt2, text, length=10)) == 11
    assert len(encode_document(char_gpt2, text)) == char_gpt2.card.context == 48


def test_a_document_longer_than_the_context_is_an_error_also_for_llama(stories):
    # rotary models run past their context without a word
    long = Documents.of([Document(tuple([1] + [5] * 512))])
    with pytest.raises(UsageError, match="512-token context of stories260K, but one has 513"):
        sdelens.capture(stories, long, layers=0)


@pytest.mark.parametrize("skip", [0, 1, 4])
def test_skipped_positions_are_counted_from_the_start_of_the_context(char_gpt2, documents, skip):
    everything = paths_of(record(char_gpt2, documents, [Site("block", 2)], skip_first=0), 2)
    recording = record(char_gpt2, documents, [Site("block", 2)], skip_first=skip)
    for d, states in paths_of(recording, 2).items():
        assert torch.equal(states, everything[d][skip:])
    assert recording.origin.skip_first == skip
    assert min(float(t[m].min()) for b in recording.view(2) for t, m in timed(b)) == skip


def timed(block):
    return [(t, m) for t, m in zip(block.times, block.mask, strict=True) if m.any()]


def test_a_document_is_recorded_from_its_start_on(char_gpt2):
    ids = tuple(encode_document(char_gpt2, "ROMEO: what light"))
    documents = Documents.of([Document(ids, start=7), Document(ids)])
    paths = paths_of(record(char_gpt2, documents, [Site("block", 3)]), 3)
    assert torch.equal(paths[0], paths[1][6:])


def test_empty_and_unrecorded_documents_take_part_without_states(char_gpt2):
    documents = Documents.of([Document(()), Document((0, 5, 6)), Document((0, 1), start=2)])
    paths = paths_of(record(char_gpt2, documents, [Site("block", 0)]), 0)
    assert {d: len(states) for d, states in paths.items()} == {0: 0, 1: 2, 2: 0}


def test_when_memory_runs_out_the_batch_is_halved_and_states_are_the_same(char_gpt2, documents):
    sites = sites_of("embed,3", char_gpt2)
    whole = record(char_gpt2, documents, sites)
    for rows in (3, 2, 1):
        halved = record(Wrapped(char_gpt2, rows=rows), documents, sites)
        for site in sites:
            assert difference(paths_of(halved, site), paths_of(whole, site)) < CLOSE


def test_when_one_document_does_not_fit_the_error_says_what_to_do(char_gpt2, documents, tmp_path):
    with pytest.raises(OutOfMemory, match="single document of 35 tokens: give a smaller length"):
        record(Wrapped(char_gpt2, rows=0), documents, [Site("block", 0)], cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_model_itself_is_not_taken_for_a_lack_of_memory(char_gpt2):
    ids, length, site = torch.tensor([[0, 1, 999]]), torch.tensor([3]), Site("block", 0)
    with pytest.raises((IndexError, RuntimeError), match="index out of range"):
        next(passes(char_gpt2, ids, length, [site], BATCH_TOKENS))


def test_states_that_are_not_numbers_are_named_and_not_cached(char_gpt2, documents, tmp_path):
    (oh,) = char_gpt2.encode("O")[:1]
    spoilt = Wrapped(char_gpt2, spoilt=oh)
    with pytest.raises(BadNumbers, match=r"block2 of document \d is not at position \d+: use"):
        record(spoilt, documents, [Site("block", 2)], cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_capture_leaves_what_another_has_finished(char_gpt2, documents, tmp_path):
    """Two capture the same; one is done while the other runs, which is then interrupted."""
    site, others = Site("block", 0), []

    def interrupted(_):
        others.append(record(char_gpt2, documents, [site], cache=tmp_path))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(char_gpt2, documents, [site], cache=tmp_path, watch=interrupted)
    (other,) = others
    assert list(tmp_path.iterdir()) == [other.folder]
    again = record(char_gpt2, documents, [site], cache=tmp_path)
    assert difference(paths_of(again, site), paths_of(other, site)) == 0


def test_of_two_captures_of_the_same_the_first_is_kept(char_gpt2, documents, tmp_path):
    site, others = Site("block", 0), []

    def meanwhile(_):
        if not others:
            others.append(record(char_gpt2, documents, [site], cache=tmp_path))

    mine = record(char_gpt2, documents, [site], cache=tmp_path, watch=meanwhile)
    (other,) = others
    assert mine.folder == other.folder
    assert list(tmp_path.iterdir()) == [other.folder]
    assert difference(paths_of(mine, site), paths_of(other, site)) == 0


def test_shards_that_a_killed_capture_left_are_replaced(char_gpt2, documents, tmp_path):
    site = Site("block", 0)
    folder = record(char_gpt2, documents, [site], cache=tmp_path).folder
    (folder / "index.json").unlink()
    again = record(char_gpt2, documents, [site], cache=tmp_path)
    assert again.folder == folder
    assert list(tmp_path.iterdir()) == [folder]
    assert len(paths_of(again, site)) == len(documents)


def test_texts_too_short_for_a_transition_are_an_error(char_gpt2):
    with pytest.raises(UsageError, match="at least one text must have two tokens"):
        sdelens.capture(char_gpt2, ["a", ""], layers=0)
    assert sdelens.capture(char_gpt2, ["a", "ab"], layers=0).shards == 1


def test_no_texts_and_a_bare_string_are_errors(char_gpt2):
    with pytest.raises(UsageError, match="at least one document"):
        sdelens.capture(char_gpt2, [])
    with pytest.raises(UsageError, match="put it in a list"):
        sdelens.capture(char_gpt2, "one text")


def test_long_documents_are_kept_in_smaller_shards(stories, monkeypatch):
    monkeypatch.setattr("sdelens.states.capturing.SHARD_BYTES", 2 * 16 * stories.card.width * 4)
    documents = documents_of(stories, [f"Once upon a time {i}" for i in range(5)], length=12)
    recording = record(stories, documents, [Site("block", 0)])
    assert recording.shards >= 2
    assert [int(d) for block in recording.view(0) for d in block.document] == list(range(5))


def test_progress_counts_every_token_once(char_gpt2, documents):
    counted = []
    record(char_gpt2, documents, [Site("block", 0)], batch_tokens=60, watch=counted.append)
    assert sum(counted) == int(documents.lengths.sum())


def test_the_default_is_the_middle_layer(char_gpt2):
    assert sdelens.capture(char_gpt2, TEXTS).sites == (Site("block", 2),)


def test_an_object_that_no_adapter_knows_is_refused():
    with pytest.raises(UsageError, match=r"no adapter for a torch\.nn\..*Linear: expected a name"):
        sdelens.capture(torch.nn.Linear(2, 2), ["text"])


def test_every_public_name_stays_what_it_is_once_its_module_is_imported():
    for name in sdelens.__all__:
        assert getattr(sdelens, name) is getattr(sdelens, name)
        assert callable(getattr(sdelens, name)), name
