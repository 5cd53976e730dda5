"""A manifest never says that a process works on a run which does not."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest

import sdelens
from sdelens.errors import BrokenPlugin, UsageError
from sdelens.registry import forget, registered
from sdelens.runs.engine import execute
from sdelens.runs.lifecycle import state_of
from sdelens.runs.observer import NullObserver
from sdelens.runs.provenance import provenance
from sdelens.runs.run import Run
from sdelens.runs.writer import sole_writer
from sdelens_plugins.probes.constant import ConstantProbe


class Leaving:
    """Ends the process, or tries to."""

    def __init__(self, end):
        self.end = end

    def stage(self, name, total, unit):
        if name == "capture":
            self.end()
        return NullObserver().stage(name, total, unit)

    def planned(self, plan):
        del plan

    def told(self, sentence):
        del sentence


KILLED = """
import os, pathlib, sys
from sdelens.runs.engine import execute
from sdelens.runs.job import Job
from sdelens.runs.observer import NullObserver

class Killed(NullObserver):
    def stage(self, name, total, unit):
        if name == "capture":
            os.kill(os.getpid(), 9)
        return super().stage(name, total, unit)

execute(Job.of({settings!r}), pathlib.Path(sys.argv[1]), observer=Killed())
"""


@dataclass(frozen=True)
class Ending(ConstantProbe):
    """A probe that ends the process."""

    def fit(self, train, validation, *, seed, watch):
        os._exit(0)


@pytest.fixture(scope="module")
def job(run):
    return replace(run.job, probe="constant", probe_settings={})


@pytest.fixture
def interruptible():
    """SIGINT raises, which processes of parallel tests ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def session():
    before = registered()
    yield
    forget(before)


def test_a_probe_that_ends_the_process_fails_and_its_run_can_be_resumed(job, tmp_path, session):
    sdelens.probe("ending")(Ending)
    ending = replace(job, probe="ending", probe_settings={})
    with pytest.raises(BrokenPlugin, match=r"the probe ending failed: SystemExit: os\._exit\(0\)"):
        execute(ending, tmp_path / "run")
    run = Run(tmp_path / "run")
    assert run.manifest["state"] == state_of(run) == "failed"
    assert provenance(run)["state"] == "failed"
    with pytest.raises(UsageError, match=r"an unfinished run, which failed: add --resume"):
        execute(ending, tmp_path / "run")
    sdelens.probe("ending")(ConstantProbe)
    assert state_of(execute(ending, tmp_path / "run", resume=True)) == "done"


@pytest.mark.parametrize(
    ("end", "error", "state"),
    [
        (lambda: sys.exit(0), BrokenPlugin, "failed"),
        (lambda: 1 / 0, BrokenPlugin, "failed"),
        (lambda: os.kill(os.getpid(), signal.SIGINT), KeyboardInterrupt, "interrupted"),
    ],
)
def test_the_manifest_says_how_the_work_ended(job, tmp_path, end, error, state, interruptible):
    with pytest.raises(error):
        execute(job, tmp_path / "run", observer=Leaving(end))
    assert Run(tmp_path / "run").manifest["state"] == state


def test_a_run_whose_process_was_killed_has_died(job, tmp_path):
    code = KILLED.format(settings=job.json())
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=False)
    assert done.returncode == -9
    run = Run(tmp_path / "run")
    assert state_of(run) == "died"
    with pytest.raises(UsageError, match="an unfinished run, whose process died: add --resume"):
        execute(job, tmp_path / "run")
    assert state_of(execute(job, tmp_path / "run", resume=True)) == "done"


def test_a_run_is_running_for_others_only_while_its_writer_lives(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run.folder, copy)
    mine = Run(copy)
    mine.note(state="running")
    code = "import sys; from pathlib import Path; from sdelens.runs.writer import sole_writer\n"
    code += "with sole_writer(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", code, str(copy)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert state_of(mine) == "running"
        other.kill()
    assert state_of(mine) == "died"
    with sole_writer(copy):
        assert state_of(mine) == "died"


@pytest.mark.parametrize("lost", ["fits", "fits/L01/DONE", "documents.safetensors"])
def test_a_run_without_its_documents_or_fits_is_not_done(run, tmp_path, lost):
    copy = Run(shutil.copytree(run.folder, tmp_path / "run"))
    part = copy.folder / lost
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    assert copy.manifest["state"] == "done"
    assert state_of(copy) == "incomplete"
    if copy.documents_file.exists():
        with pytest.raises(UsageError, match="whose documents or fits are missing: add --resume"):
            execute(run.job, copy.folder)
    again = execute(run.job, copy.folder, resume=True)
    assert state_of(again) == "done"
    for file in ("documents.safetensors", "fits/L01/sde.safetensors"):
        assert (again.folder / file).read_bytes() == (run.folder / file).read_bytes()


def test_a_plan_is_refused_where_the_job_would_be(run, tmp_path):
    other = replace(run.job, seed=1)
    with pytest.raises(UsageError, match="contains another run"):
        execute(other, run.folder, dry_run=True)
    execute(other, run.folder, dry_run=True, overwrite=True)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="is not empty and not a run"):
        execute(other, tmp_path, dry_run=True)
