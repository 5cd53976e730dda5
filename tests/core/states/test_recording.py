"""Captured states on disk."""

import gc
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sdelens.errors import OutOfMemory, UsageError
from sdelens.paths.documents import Document, Documents
from sdelens.paths.trajectories import Paths
from sdelens.protocols import Site
from sdelens.states import shard_file as shard_module
from sdelens.states.capturing import capture, record
from sdelens.states.recording import Recording, View, trimmed

LAYERS = (Site("embed"), Site("block", 1))


@pytest.fixture(scope="module")
def documents():
    """150 documents of 3 to 40 tokens, three shards: each token id is the one before plus one."""
    rows = [[(7 * i + t) % 65 for t in range(3 + i % 38)] for i in range(150)]
    return Documents.of(Document((0, *row[1:])) for row in rows)


@pytest.fixture(scope="module")
def recording(char_gpt2, documents, tmp_path_factory):
    return record(char_gpt2, documents, LAYERS, cache=tmp_path_factory.mktemp("states"))


def tokens_of(paths):
    return {
        int(d): row[kept].tolist()
        for block in paths
        for d, row, kept in zip(block.document, block.tokens, block.mask, strict=True)
    }


def test_paths_follow_the_documents_in_token_order(recording, documents):
    expected = {i: list(d.tokens[1:]) for i, d in enumerate(documents)}
    paths = recording.view(1)
    assert isinstance(paths, Paths)
    assert recording.shards == 3
    assert tokens_of(paths) == expected
    assert tokens_of(paths) == expected, "paths can be read again"
    for block in paths:
        assert torch.equal(block.times[block.mask], (block.mask.cumsum(1))[block.mask].float())


def test_select_gives_those_documents_only(recording):
    everything = tokens_of(recording.view(1))
    chosen = [3, 64, 149]
    assert tokens_of(recording.view(1).select(chosen)) == {d: everything[d] for d in chosen}
    assert tokens_of(recording.view(1).select([])) == {}


def test_select_reads_the_rows_of_those_documents_only(recording, tmp_path):
    """The states of all other documents are NaN, and the sizes read are counted."""
    chosen, read = [3, 4, 64, 149], []
    for file in recording.view(1).files:
        tensors = load_file(file)
        other = ~torch.isin(tensors["document"], torch.tensor(chosen))
        for name in map(str, LAYERS):
            tensors[name][other] = torch.nan
        save_file(tensors, tmp_path / file.name)
    damaged = replace(recording, folder=tmp_path)

    class Counted:
        def __init__(self, *args):
            self.file = safe_open(*args)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            del self.file

        def get_tensor(self, name):
            return self.file.get_tensor(name)

        def get_slice(self, name):
            return CountedSlice(self.file.get_slice(name))

    class CountedSlice:
        def __init__(self, stored):
            self.stored, self.get_shape = stored, stored.get_shape

        def __getitem__(self, index):
            part = self.stored[index]
            read.append(len(part))
            return part

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_module, "safe_open", Counted)
        blocks = list(damaged.view(1).select(chosen))
    assert sum(read) == 4 * len(chosen), "states, mask, positions and tokens of each document"
    for block, whole in zip(blocks, recording.view(1).select(chosen), strict=True):
        assert torch.equal(block.states, whole.states)
        assert block.states.isfinite().all()


@pytest.mark.parametrize("size", [1000, 97])
def test_each_transition_comes_exactly_once_in_an_epoch(recording, documents, size):
    batches = list(recording.view(Site("embed")).transitions(size, seed=3))
    seen = torch.cat([torch.cat([b.x, b.following, b.t[:, None]], 1) for b in batches])
    stored = torch.cat(
        [
            torch.cat([flat.x, flat.following, flat.t[:, None]], 1)
            for flat in (block.flat() for block in recording.view(Site("embed")))
        ]
    )
    assert len(seen) == int((documents.lengths - 2).sum())
    assert torch.equal(rows_sorted(seen), rows_sorted(stored))
    assert {len(b.t) for b in batches[:-1]} <= {size}, "only the last batch is short"


def rows_sorted(rows):
    return torch.tensor(sorted(map(tuple, rows.tolist())))


def test_the_order_of_transitions_depends_on_the_seed_alone(recording):
    def first(seed):
        return next(iter(recording.view(1).transitions(64, seed))).x

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_a_view_of_what_was_not_captured_is_a_clear_error(recording):
    with pytest.raises(UsageError, match="block2 was not captured: this recording holds embed, b"):
        recording.view(2)
    assert [str(view) for view in recording.views] == ["embed", "L01"]
    assert recording.view(View(Site("block", 1))).files == recording.view(1).files


def test_trimmed_paths_begin_where_they_are_told(recording):
    paths = trimmed(recording.view(1), {5: 4})
    times = {int(d): t[m] for b in paths for d, t, m in zip(b.document, b.times, b.mask, strict=1)}
    assert times[5].min() == 4
    assert times[6].min() == 1


def test_a_recording_is_reused_when_everything_is_the_same(char_gpt2, documents, recording):
    cache = recording.folder.parent
    before = {path: path.stat().st_mtime_ns for path in recording.folder.iterdir()}
    again = record(char_gpt2, documents, LAYERS, cache=cache)
    assert again.folder == recording.folder
    assert again.origin == recording.origin
    assert {path: path.stat().st_mtime_ns for path in again.folder.iterdir()} == before


def test_a_recording_is_not_reused_when_anything_differs(char_gpt2, documents, recording, stories):
    few = documents.slice(0, 3)
    cache = recording.folder.parent
    moved = Documents(few.tokens, few.offsets, few.start + 1, few.group)
    other = Documents(few.tokens + 1, few.offsets, few.start, few.group)
    folders = [
        record(model, texts, sites, skip_first=skip, cache=cache).folder
        for model, texts, sites, skip in (
            (char_gpt2, few, LAYERS, 1),
            (char_gpt2, few, LAYERS, 0),
            (char_gpt2, few, LAYERS[:1], 1),
            (char_gpt2, moved, LAYERS, 1),
            (char_gpt2, other, LAYERS, 1),
            (stories, few, LAYERS, 1),
            (char_gpt2.untrained(0), few, LAYERS, 1),
            (char_gpt2.untrained(1), few, LAYERS, 1),
        )
    ]
    assert len(set(folders)) == len(folders)


def test_a_recording_that_lost_a_shard_is_captured_again(char_gpt2, documents, tmp_path):
    first = record(char_gpt2, documents, LAYERS, cache=tmp_path)
    lost = first.view(1).files[1]
    whole = lost.read_bytes()
    lost.unlink()
    with pytest.raises(UsageError, match=r"shard-00001\.safetensors is missing"):
        Recording.load(first.folder)
    again = record(char_gpt2, documents, LAYERS, cache=tmp_path)
    assert again.view(1).files[1].read_bytes() == whole, "and the bytes are the same"


def test_a_temporary_recording_vanishes_with_the_last_that_reads_it(char_gpt2):
    paths = capture(char_gpt2, ["ROMEO: what light"], layers=1).view(1).select([0])
    folder = paths.files[0].parent
    gc.collect()
    (block,) = paths  # the recording itself is gone, its paths are not
    assert block.mask.any()
    del paths
    gc.collect()
    assert not folder.exists()


def test_a_full_disk_leaves_nothing_behind(char_gpt2, documents, tmp_path):
    resource = pytest.importorskip("resource", reason="needs a limit on the size of files")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, old[1]))
    try:
        with pytest.raises(OutOfMemory, match="no room is left on the disk"):
            record(char_gpt2, documents, LAYERS, cache=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert list(tmp_path.iterdir()) == []
