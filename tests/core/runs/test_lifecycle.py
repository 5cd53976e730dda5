"""A manifest never says that a process works on a run which does not."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace

import psutil
import pytest

import sdelens
from sdelens.errors import BrokenPlugin, UsageError
from sdelens.registry import forget, registered
from sdelens.runs.engine import execute
from sdelens.runs.lifecycle import state_of
from sdelens.runs.liveness import is_this, lives, this_process
from sdelens.runs.observer import NullObserver
from sdelens.runs.provenance import provenance
from sdelens.runs.run import Run
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
def session():
    before = registered()
    yield
    forget(before)


def test_a_finished_run_names_no_process(run):
    assert state_of(run) == "done"
    assert "process" not in run.manifest


def test_a_probe_that_ends_the_process_fails_and_its_run_can_be_resumed(job, tmp_path, session):
    sdelens.probe("ending")(Ending)
    ending = replace(job, probe="ending", probe_settings={})
    with pytest.raises(BrokenPlugin, match=r"the probe ending failed: SystemExit: os\._exit\(0\)"):
        execute(ending, tmp_path / "run")
    run = Run(tmp_path / "run")
    assert run.manifest["state"] == state_of(run) == "failed"
    assert "process" not in run.manifest
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
def test_the_manifest_says_how_the_work_ended(job, tmp_path, end, error, state):
    with pytest.raises(error):
        execute(job, tmp_path / "run", observer=Leaving(end))
    assert Run(tmp_path / "run").manifest["state"] == state


def test_a_run_whose_process_was_killed_has_died(job, tmp_path):
    code = KILLED.format(settings=job.json())
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=False)
    assert done.returncode == -9
    run = Run(tmp_path / "run")
    assert state_of(run) == "died"
    assert run.manifest["process"]["pid"] != os.getpid()
    with pytest.raises(UsageError, match="an unfinished run, whose process died: add --resume"):
        execute(job, tmp_path / "run")
    assert state_of(execute(job, tmp_path / "run", resume=True)) == "done"


def test_a_process_is_known_by_its_number_and_its_start():
    mine = this_process()
    assert lives(mine)
    assert is_this(mine)
    assert not lives(mine | {"started": mine["started"] - 60})
    assert not lives(None)
    assert lives(mine | {"machine": "another", "pid": 0})  # which cannot be known here
    child = subprocess.Popen(["sleep", "60"])
    theirs = mine | {"pid": child.pid, "started": psutil.Process(child.pid).create_time()}
    assert lives(theirs)
    assert not is_this(theirs)
    child.kill()
    child.wait()
    assert not lives(theirs)
