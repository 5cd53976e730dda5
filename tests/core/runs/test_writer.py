"""A run folder has one writer at a time."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from threading import Thread

import pytest

import sdelens
from sdelens.errors import OutOfMemory, UsageError
from sdelens.runs.engine import execute
from sdelens.runs.folder import LOCK, WRITER
from sdelens.runs.run_analyzers import analyze, write_report
from sdelens.runs.writer import sole_writer

HOLDER = """
import sys, time
from pathlib import Path
from sdelens.runs.writer import sole_writer
with sole_writer(Path(sys.argv[1])):
    (Path(sys.argv[1]) / ".config.json.7.tmp").write_text("half")
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(run):
    """The run, whose lock another process holds."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run.folder)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    yield holder
    holder.send_signal(signal.SIGKILL)
    holder.communicate()


def in_a_thread(function):
    thread = Thread(target=function)
    thread.start()
    thread.join()


def hidden(folder):
    return sorted(file.name for file in folder.rglob(".*"))


def test_no_job_writes_while_another_does_and_the_lock_of_a_killed_job_is_free(run, held):
    expected = f"is being written by process {held.pid} on .* since .*: wait until it ends"
    other = replace(run.job, seed=1)
    study = sdelens.load(run.folder)
    for write in (
        lambda: execute(other, run.folder, overwrite=True),
        lambda: analyze(run, ["losses"]),
        lambda: write_report(run),
        lambda: study.analyze("losses", layer=0),
        lambda: study.plot(layer=0),
    ):
        with pytest.raises(UsageError, match=expected):
            write()
    assert execute(run.job, run.folder).folder == run.folder, "a finished run is only read"
    assert study.report().title
    held.send_signal(signal.SIGKILL)
    held.wait()
    assert hidden(run.folder) == [".config.json.7.tmp", ".lock", ".writer.json"]
    analyze(run, ["losses"])
    assert hidden(run.folder) == []


def test_a_copy_waits_for_the_writer_of_its_original(run, tmp_path, monkeypatch):
    monkeypatch.setattr("sdelens.runs.writer.WAIT", 0.1)
    study, refused = sdelens.load(run.folder), []

    def save():
        try:
            study.save(tmp_path / "copy")
        except UsageError as error:
            refused.append(str(error))

    with sole_writer(run.folder):
        in_a_thread(save)
    (sentence,) = refused
    assert f"{run.folder} is being written by process" in sentence
    assert not (tmp_path / "copy").exists()
    save()
    assert hidden(tmp_path / "copy") == []


def test_parts_of_a_job_pass_and_other_threads_do_not(tmp_path):
    folder, refused = tmp_path / "run", []

    def other():
        try:
            with sole_writer(folder):
                pass
        except UsageError as error:
            refused.append(str(error))

    with sole_writer(folder), sole_writer(folder):
        in_a_thread(other)
        assert (folder / ".lock").exists()
    (sentence,) = refused
    assert f"process {os.getpid()}" in sentence
    assert not folder.exists(), "nothing was written"


def test_no_lock_is_left_in_a_folder_that_is_not_a_run(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="not empty and not a run"), sole_writer(tmp_path):
        pass
    assert hidden(tmp_path) == []


def test_what_a_killed_save_copied_is_replaced_and_the_files_of_others_are_not(run, tmp_path):
    place = tmp_path / "saved"
    shutil.copytree(run.folder / "fits", place / "fits")
    with pytest.raises(UsageError, match="is not empty and not a run"):
        sdelens.load(run.folder).save(place)
    (place / WRITER).write_text("{}")  # which a killed process leaves
    assert sdelens.load(run.folder).save(place) == place
    assert sdelens.load(place).views


def test_a_save_that_fails_leaves_nothing(run, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copy", full)
        with pytest.raises(OutOfMemory, match="no room is left"):
            sdelens.load(run.folder).save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    sdelens.load(run.folder).save(tmp_path / "saved")


def test_half_written_files_of_a_killed_job_are_removed_everywhere(run, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    for place in (folder, folder / "fits" / "L01", folder / "analysis" / "mine"):
        place.mkdir(parents=True, exist_ok=True)
        for name in (".manifest.json.99.tmp", ".tmpAb3dE9"):  # ours, and that of safetensors
            (place / name).touch()
    with sole_writer(folder):
        pass
    assert not list(folder.rglob(".*"))


def test_the_lock_of_a_job_killed_at_its_end_is_removed(run, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    (folder / LOCK).touch()
    (folder / WRITER).write_text("{}")
    execute(run.job, folder)
    assert not list(folder.glob(".*"))
