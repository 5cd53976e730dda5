"""Temporary folders are removed with their process, or by a later one."""

import gc
import os
import signal
import subprocess
import sys
import tempfile

import pytest

from sdelens.temporary import Temporary, sweep

HELD = """
import time
from sdelens.temporary import Temporary
kept = Temporary()
(kept.folder / "states").write_text("x" * 99)
print(kept.folder, flush=True)
time.sleep(60)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_a_folder_is_removed_with_the_last_reference(place):
    kept = Temporary()
    assert kept.folder.parent == place
    assert kept.folder.stat().st_mode & 0o777 == 0o700
    del kept
    gc.collect()
    assert list(place.iterdir()) == []


def test_a_killed_process_leaves_a_folder_for_the_next_to_remove(place):
    holder = subprocess.Popen([sys.executable, "-c", HELD], stdout=subprocess.PIPE, text=True)
    folder = place / holder.stdout.readline().strip()
    assert sweep() == 0, "it is in use"
    assert folder.is_dir()
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert folder.is_dir()
    mine = Temporary()
    assert list(place.iterdir()) == [mine.folder]


def test_a_killed_process_leaves_an_empty_folder_if_it_just_began(place):
    (place / f"sdelens-{'0' * 32}").mkdir()
    assert sweep() == 1
    assert list(place.iterdir()) == []


def test_folders_of_others_are_left_alone(place):
    for name in ("sdelens-run", "sdelens-abcdefgh", "other"):
        (place / name).mkdir()
    target = place / "sdelens-run"
    (target / "manifest.json").write_text("{}")
    (place / f"sdelens-{'1' * 32}").symlink_to(target)
    assert sweep() == 0
    assert (target / "manifest.json").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_does_not_remove_the_folder_of_its_parent(place):
    code = (
        "import os, sys\nfrom sdelens.temporary import Temporary\nkept = Temporary()\n"
        "if not os.fork():\n    sys.exit()\nos.wait()\nassert kept.folder.is_dir()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(place.iterdir()) == []
