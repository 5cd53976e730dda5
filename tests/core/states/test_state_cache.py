"""Cached states are verified, shared by processes, and removed when nobody uses them."""

import gc
import os
import shutil
import subprocess
import sys
import time

import pytest
import torch

from sdelens.digest import digest
from sdelens.errors import UsageError
from sdelens.paths.documents import Document, Documents
from sdelens.protocols import Site
from sdelens.states.capturing import record
from sdelens.states.recording import Recording, View
from sdelens.states.state_cache import StateCache, parse_size
from sdelens.store import read_json, write_json
from sdelens.temporary import LOCK
from sdelens.testing.small_model import small_model

SHARD, INDEX = "shard-00001.safetensors", "index.json"
SITES = (Site("embed"), Site("block", 1))


def texts(seed, count=150):
    """Documents of 10 tokens, three shards."""
    ids = torch.randint(1, 257, (count, 9), generator=torch.Generator().manual_seed(seed))
    return Documents.of(Document((0, *row)) for row in ids.tolist())


class Captured:
    """Records into a cache; collects the sentences for the user and counts evaluated tokens."""

    def __init__(self, cache):
        self.cache, self.told, self.tokens = cache, [], 0

    def __call__(self, documents):
        self.tokens = 0
        return record(
            small_model(),
            documents,
            SITES,
            cache=self.cache,
            tell=self.told.append,
            watch=self.add,
        )

    def add(self, tokens):
        self.tokens += tokens


@pytest.fixture
def captured(tmp_path):
    return Captured(tmp_path / "states")


def states(recording):
    return torch.cat([block.states[block.mask] for block in recording.view(View(SITES[1]))])


def flip(file, place, bit=0):
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << bit
    file.write_bytes(content)


def truncate(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def other_number(folder):
    text = (folder / INDEX).read_text()
    (folder / INDEX).write_text(text.replace('"skip_first": 1', '"skip_first": 2'))


def foreign_origin(folder):
    """An index that is whole, but of other texts."""
    index = read_json(folder / "index.json")
    index.pop("checksum")
    index["origin"]["tokens"] = "0" * 64
    write_json(folder / "index.json", index | {"checksum": digest(index)})


def earlier(folder):
    """An index as it was before it had a version."""
    index = read_json(folder / INDEX)
    whole = {k: v for k, v in index.items() if k not in ("checksum", "version")}
    write_json(folder / INDEX, whole | {"checksum": digest(whole)})


def pipe(folder):
    (folder / INDEX).unlink()
    os.mkfifo(folder / INDEX)


FAULTS = {
    "one bit of a state": (lambda f: flip(f / SHARD, -7), "checksum differs"),
    "one bit of a header": (lambda f: flip(f / SHARD, 20), "checksum differs"),
    "a truncated shard": (lambda f: truncate(f / SHARD), "checksum differs"),
    "an empty shard": (lambda f: (f / SHARD).write_bytes(b""), "checksum differs"),
    "a lost shard": (lambda f: (f / SHARD).unlink(), "is missing"),
    "a shard in place of another": (
        lambda f: shutil.copy(f / SHARD, f / "shard-00000.safetensors"),
        "checksum differs",
    ),
    "a truncated index": (lambda f: truncate(f / INDEX), "is not JSON"),
    "an index of no bytes": (lambda f: (f / INDEX).write_bytes(b""), "is not JSON"),
    "another number in the index": (other_number, "checksum differs"),
    "a list for an index": (lambda f: (f / INDEX).write_text("[1]"), "checksum differs"),
    "a deep index": (lambda f: (f / INDEX).write_text("[" * 10**5), "index.json"),
    "an index of an earlier version": (earlier, "made by an earlier version of sdelens"),
    "a pipe for an index": (pipe, "is not a file"),
    "bytes that are not valid text": (
        lambda f: (f / INDEX).write_bytes(b"\xff" * 9),
        "is not text",
    ),
    "other texts": (foreign_origin, "another model or of other texts"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_verification_is_recorded_again_with_one_line(captured, fault):
    documents = texts(0)
    first = captured(documents)
    expected, folder = states(first), first.folder
    whole = {file.name: file.read_bytes() for file in folder.iterdir()}
    del first
    damage, reason = FAULTS[fault]
    damage(folder)
    again = captured(documents)
    assert captured.tokens == int(documents.lengths.sum())
    (sentence,) = captured.told
    assert "recorded again" in sentence
    assert reason in sentence
    assert torch.equal(states(again), expected)
    assert {file.name: file.read_bytes() for file in again.folder.iterdir()} == whole
    del again
    captured(documents)
    assert captured.tokens == 0
    assert len(captured.told) == 1


def test_the_entry_or_a_shard_of_another_seed_is_not_used(captured):
    one, other = captured(texts(0)), captured(texts(1))
    expected, folder, foreign = states(one), one.folder, other.folder
    del one, other
    shutil.copy(foreign / SHARD, folder / SHARD)
    again = captured(texts(0))
    assert torch.equal(states(again), expected)
    del again
    shutil.rmtree(folder)
    shutil.copytree(foreign, folder)
    assert torch.equal(states(captured(texts(0))), expected)
    assert [SHARD in sentence for sentence in captured.told] == [True, False]
    assert "other texts" in captured.told[1]


def test_states_that_change_during_use_are_no_fault_of_the_probe(captured):
    recording = captured(texts(0))
    truncate(recording.view(1).files[1])
    with pytest.raises(UsageError, match=r"shard-00001.* while its states were in use"):
        states(recording)


EIGHT = r"""
import os, sys, torch
from pathlib import Path
from sdelens.paths.documents import Document, Documents
from sdelens.protocols import Site
from sdelens.states.capturing import record
from sdelens.testing.small_model import small_model
torch.set_num_threads(1)
model, go = small_model(), os.pipe()
documents = Documents.of(Document((0, *range(1 + i % 50, 10 + i % 50))) for i in range(150))
children = []
for _ in range(8):
    if not (child := os.fork()):
        os.close(go[1])
        os.read(go[0], 1)  # all start together
        try:
            recording = record(model, documents, [Site("block", 1)], cache=Path(sys.argv[1]))
            total = sum(block.states.sum() for block in recording.view(1))
            os.write(1, f"{float(total)} {recording.folder.name}\n".encode())
            os._exit(0)
        finally:
            os._exit(1)
    children.append(child)
os.close(go[1])
sys.exit(max(os.waitpid(child, 0)[1] for child in children))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that start together")
def test_eight_processes_share_one_entry(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", EIGHT, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert len(set(lines)) == 1, "the same sum, from the same entry"
    (entry,) = tmp_path.iterdir()
    assert Recording.load(entry) is not None


def test_an_entry_in_use_is_not_removed(captured):
    cache = StateCache(captured.cache)
    recording = captured(texts(0))
    folder = recording.folder
    paths = recording.view(1).select([3])
    del recording
    gc.collect()
    assert not cache.remove(folder), "its paths are still there"
    assert [entry.in_use for entry in cache.entries] == [True]
    assert len(list(paths)) == 1
    del paths
    gc.collect()
    assert cache.remove(folder)
    assert list(cache.folder.iterdir()) == []


def test_the_least_recently_used_entries_make_room(captured, monkeypatch):
    folders = [captured(texts(seed)).folder for seed in range(3)]
    size = StateCache(captured.cache).entries[0].bytes
    for age, folder in zip((3, 2, 1), folders, strict=True):
        os.utime(folder, (time.time() - age, time.time() - age))
    captured(texts(0))  # used again
    monkeypatch.setenv("SDELENS_CACHE_LIMIT", str(3 * size + size // 2))
    kept = captured(texts(3)).folder
    found = [entry.folder for entry in StateCache(captured.cache).entries]
    assert found == [folders[2], folders[0], kept]


def test_states_larger_than_the_limit_are_used_and_not_kept(captured, monkeypatch):
    monkeypatch.setenv("SDELENS_CACHE_LIMIT", "1 KB")
    recording = captured(texts(0))
    assert len(states(recording)) == 150 * 9
    (sentence,) = captured.told
    assert "not kept for later runs" in sentence
    assert StateCache(captured.cache).entries == []
    del recording
    gc.collect()
    assert list(captured.cache.iterdir()) == []


def test_an_invalid_limit_is_named_before_any_work(captured, monkeypatch):
    monkeypatch.setenv("SDELENS_CACHE_LIMIT", "much")
    with pytest.raises(UsageError, match="SDELENS_CACHE_LIMIT must be a size such as 20GB"):
        captured(texts(0))
    assert captured.tokens == 0


def test_sizes_have_units():
    sizes = {"0": 0, "10": 10, "1.5 kB": 1500, "2GiB": 2**31, "20gb": 20 * 10**9}
    assert {text: parse_size(text, "limit") for text in sizes} == sizes
    for text in ("-1", "1 GBB", "nan", "1e9", "9" * 99, ""):
        with pytest.raises(UsageError, match="limit must be a size"):
            parse_size(text, "limit")


def test_only_what_is_ours_is_removed(captured):
    folder = captured(texts(0)).folder
    (folder / "index.json").unlink()
    mine = captured.cache / "thesis"
    mine.mkdir()
    (captured.cache / f".{folder.name}-{'0' * 32}.tmp").mkdir()
    (captured.cache / ("a" * 24)).symlink_to(mine)
    (captured.cache / f".{folder.name}-{'1' * 32}.tmp").symlink_to(mine)
    (mine / "chapter.tex").touch()
    assert StateCache(captured.cache).prune(limit=0) == 4
    assert list(captured.cache.rglob("*")) == [mine, mine / "chapter.tex"]


def test_the_lock_of_a_process_killed_after_it_filled_the_cache_is_removed(captured):
    folder = captured(texts(0)).folder
    (folder / LOCK).touch()
    captured(texts(0))
    assert captured.tokens == 0
    assert not (folder / LOCK).exists()


def test_an_entry_that_is_a_link_is_not_used_and_only_the_link_is_removed(captured, tmp_path):
    folder = captured(texts(0)).folder
    gc.collect()
    elsewhere = folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(elsewhere)
    again = captured(texts(0))
    assert captured.tokens > 0
    assert not again.folder.is_symlink()
    assert (elsewhere / INDEX).exists()
