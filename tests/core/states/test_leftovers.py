"""What earlier versions left in the temporary folder."""

import os

from sdelens.states.state_cache import StateCache

SHARD = "shard-00001.safetensors"


def test_recordings_of_earlier_versions_are_removed_after_a_week(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    old, new, other, link = (tmp_path / f"sdelens-{c * 8}" for c in "abcd")
    for folder in (old, new, other):
        folder.mkdir()
        (folder / SHARD).touch()
    (other / "thesis.tex").touch()
    link.symlink_to(other)
    for folder in (old, other):
        os.utime(folder, (0, 0))
    assert StateCache(tmp_path / "states").sweep() == 1
    assert sorted(tmp_path.iterdir()) == [new, other, link]
    assert (other / "thesis.tex").exists()
