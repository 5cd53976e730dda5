"""Files replaced whole."""

import errno
import os
from pathlib import Path

import pytest
import torch

from sdelens.errors import OutOfMemory, UsageError
from sdelens.store import (
    cache_folder,
    read_json,
    read_tensors,
    replaced,
    write_json,
    write_tensors,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_tensors_and_json_come_back_as_they_were(tmp_path):
    tensors = {"b": torch.randn(3, 4)[:, ::2], "a": torch.arange(5), "c": torch.tensor(True)}
    write_tensors(tmp_path / "x.safetensors", tensors)
    back = read_tensors(tmp_path / "x.safetensors")
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    write_json(tmp_path / "deep" / "x.json", {"b": [1, 2.5, None], "a": "é"})
    assert read_json(tmp_path / "deep" / "x.json") == {"b": [1, 2.5, None], "a": "é"}


def test_equal_values_are_equal_bytes(tmp_path):
    for file, order in (("one", "ab"), ("two", "ba")):
        write_json(tmp_path / f"{file}.json", dict.fromkeys(order, 1))
        write_tensors(tmp_path / f"{file}.st", {name: torch.ones(2) for name in order})
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert (tmp_path / "one.st").read_bytes() == (tmp_path / "two.st").read_bytes()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "x.txt"
    write_text(file, "old")

    def half(place):
        place.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replaced(file, half)
    assert file.read_text() == "old"
    assert names(tmp_path) == ["x.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is full")
def test_a_full_disk_is_one_clear_sentence_and_no_partial_file(tmp_path):
    # what is written under the temporary name goes to a device that is always full
    file = tmp_path / "x.json"
    (tmp_path / f".x.json.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(OutOfMemory, match=r"no room is left on the disk for .*x\.json: free some"):
        write_json(file, list(range(100_000)))
    assert names(tmp_path) == []


def test_tensors_that_find_no_room_leave_no_partial_file(tmp_path):
    # safetensors writes by itself, so the system must refuse: no file over 100 kB in this process
    resource = pytest.importorskip("resource", reason="needs a limit on the size of files")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
    try:
        with pytest.raises(
            OutOfMemory, match=r"no room is left on the disk for .*x\.st: free some"
        ):
            write_tensors(tmp_path / "x.st", {"x": torch.ones(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert names(tmp_path) == []


def test_a_disk_quota_counts_as_a_full_disk(tmp_path):
    def write(place):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with pytest.raises(OutOfMemory):
        replaced(tmp_path / "x", write)


def test_a_place_that_cannot_be_written_is_the_users_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_text(tmp_path / "file" / "x.txt", "")


def test_absent_and_damaged_files_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"absent\.json does not exist"):
        read_json(tmp_path / "absent.json")
    with pytest.raises(UsageError, match=r"absent\.st does not exist"):
        read_tensors(tmp_path / "absent.st")
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(UsageError, match=r"x\.json is not JSON"):
        read_json(tmp_path / "x.json")
    write_tensors(tmp_path / "x.st", {"x": torch.ones(100)})
    whole = (tmp_path / "x.st").read_bytes()
    (tmp_path / "x.st").write_bytes(whole[:-10])
    with pytest.raises(UsageError, match=r"x\.st is not a whole safetensors file"):
        read_tensors(tmp_path / "x.st")


def test_nan_does_not_go_into_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", float("nan"))
    assert names(tmp_path) == []


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SDELENS_CACHE", raising=False)
    assert cache_folder() == tmp_path / "sdelens"
    monkeypatch.setenv("SDELENS_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
