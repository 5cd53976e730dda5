"""Signals in any phase: exit 130, and one line with a command that continues."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.small import COMMAND

PLUGIN = """
import os, time
from dataclasses import dataclass
from typing import ClassVar
import sdelens
from sdelens.report import Finding

class Base:
    needs: ClassVar = frozenset()
    wants: ClassVar = frozenset()
    scope: ClassVar = "run"

    def analyze(self, study, *, seed):
        if isinstance(self, Slow) and "PATIENT" not in os.environ:
            time.sleep(60)
        return Finding("all", "found", "")

@sdelens.analyzer("quick")
@dataclass(frozen=True)
class Quick(Base):
    pass

@sdelens.analyzer("slow")
@dataclass(frozen=True)
class Slow(Base):
    pass
"""
INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def heed_signals():
    """Let signals end this process, even if they were ignored by the one that started it."""
    for number in (INT, TERM, HUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def interrupted(environment, tmp_path):
    """Start the command, wait until something is so, send signals: the code and stderr."""

    def run(*arguments, ready, signals=(INT, INT, INT)):
        started = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # a shell's background job ignores SIGINT, one of nohup SIGHUP: so would its children
            preexec_fn=heed_signals,
        )
        deadline = time.monotonic() + 120
        while not ready(started.pid) and started.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        for number in signals:
            started.send_signal(number)
            time.sleep(0.01)
        _, said = started.communicate(timeout=300)
        return started.returncode, said

    return run


@pytest.fixture
def pasted(environment, tmp_path):
    """Run a line in a shell, with a longer patience of the slow analyzer."""

    def run(line):
        assert line.startswith("sdelens ")
        words = f"{COMMAND[0]} -c '{COMMAND[2]}' {line.removeprefix('sdelens ')}"
        variables = environment | {"PATIENT": "1"}
        return subprocess.run(
            ["bash", "-c", words], env=variables, cwd=tmp_path, capture_output=True, text=True
        )

    return run


def line_of(said):
    """The command of the only line about an interrupt."""
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    [line] = [line for line in said.splitlines() if line.startswith("Interrupted")]
    return line.removeprefix("Interrupted. Continue with: ")


def mapped(name):
    """Whether a process has mapped a library, that is, is in the middle of its imports."""
    return lambda pid: name in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("library", "signals"), [("libtorch_cpu", (INT, INT, INT)), ("libtorch_python", (HUP, TERM))]
)
def test_signals_during_imports_end_with_one_line(interrupted, library, signals):
    code, said = interrupted("fit", "--out", "my run", ready=mapped(library), signals=signals)
    assert code == 130
    assert line_of(said) == "sdelens fit --resume --out 'my run'"


LAZY = """
import sys, time
from dataclasses import dataclass
import sdelens
from sdelens_plugins.sources.sampled import SampledSource

@sdelens.source("lazy")
@dataclass(frozen=True)
class Lazy(SampledSource):
    def documents(self, model, *, seed):
        sys.path.append(".")
        import slow_library
        slow_library.wait()
"""
WAIT = "pathlib.Path('waiting').touch(); time.sleep(60)"
WAITING = {
    "in an import": f"import pathlib, time\n{WAIT}",
    "in a finalizer": f"""
import pathlib, time
class Slow:
    def __del__(self):
        {WAIT}
def wait():
    Slow()
""",
    "where it is caught": f"""
import pathlib, time
def wait():
    try:
        {WAIT}
    except BaseException:
        raise ValueError from None
""",
}


@pytest.mark.parametrize(
    ("where", "signals"), zip(WAITING, [(INT,), (TERM, HUP), (HUP,)], strict=True)
)
def test_an_interrupt_anywhere_in_a_plugin_leaves_no_running_manifest(
    interrupted, job, tmp_path, signals, where
):
    words = [word for word in job if not str(word).startswith("probe.") and word != "--set"]
    (tmp_path / "lazy.py").write_text(LAZY)
    (tmp_path / "slow_library.py").write_text(WAITING[where])
    code, said = interrupted(
        *words,
        *("--source", "lazy", "--probe", "constant", "--plugin", "lazy.py", "--out", "run"),
        ready=lambda _: (tmp_path / "waiting").exists(),
        signals=signals,
    )
    assert code == 130, said
    assert line_of(said).startswith("sdelens fit --resume --model")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["state"] == "interrupted"


def test_an_interrupted_analysis_continues_when_its_line_is_pasted(
    interrupted, pasted, finished, tmp_path
):
    run, plugin = tmp_path / "my run", tmp_path / "my plugin.py"
    shutil.copytree(finished, run)
    shutil.rmtree(run / "analysis", ignore_errors=True)
    plugin.write_text(PLUGIN)
    quick = run / "analysis/quick/all"
    code, said = interrupted(
        *("analyze", "my run", "quick", "slow", "--plugin", "my plugin.py"),
        ready=lambda _: (quick / "finding.json").exists(),
    )
    assert code == 130
    line = line_of(said)
    assert "--resume" in line
    assert not (run / "analysis/slow").exists()
    made = (quick / "finding.json").stat().st_mtime_ns
    done = pasted(line)
    assert done.returncode == 0, done.stderr
    assert (quick / "finding.json").stat().st_mtime_ns == made
    assert (run / "analysis/slow/all/finding.json").exists()
    assert {"quick all", "slow all"} <= set(done.stderr.splitlines())
    [after] = [each for each in done.stderr.splitlines() if each.startswith("next: ")]
    assert after == "next: sdelens report 'my run' --plugin 'my plugin.py'"
    # another source of the analyzer is another analysis
    plugin.write_text(PLUGIN.replace('"found"', '"found anew"'))
    assert pasted(line).returncode == 0
    assert json.loads((quick / "finding.json").read_text())["headline"] == "found anew"


@pytest.mark.slow
@pytest.mark.parametrize("signals", [(INT, INT, INT), (TERM,), (HUP,), (HUP, TERM, INT)])
@pytest.mark.parametrize("delay", [0.3, 0.7, 1.2, 2, 3, 5, 8])
def test_signals_at_any_moment_of_a_fit_end_with_one_line(interrupted, delay, signals, tmp_path):
    start = time.monotonic()
    steps = ("--set", "probe.least_steps=20000", "--documents", 60, "--length", 30)
    code, said = interrupted(
        *("fit", "--out", tmp_path / "run", *steps),
        ready=lambda _: time.monotonic() - start > delay,
        signals=signals,
    )
    assert code == 130, said
    assert line_of(said).startswith("sdelens fit --resume --out")


def test_the_command_that_finishes_a_run_works_when_pasted(sdelens, pasted, finished, tmp_path):
    run = tmp_path / "my run"
    shutil.copytree(finished, run)
    for done in run.glob("fits/*/DONE"):
        done.unlink()
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"state": "running"}))
    refused = sdelens("report", run)
    assert refused.returncode == 2
    assert pasted(refused.stderr.strip().partition("finish it with: ")[2]).returncode == 0
    assert len(list(run.glob("fits/*/DONE"))) == 2


def test_overwrite_with_resume_continues_this_job_and_replaces_others(sdelens, job, tmp_path):
    out = ("--out", tmp_path / "run", "--overwrite", "--resume", "-q")
    assert sdelens(*job, *out).returncode == 0
    kept = (tmp_path / "run/fits/L00/sde.safetensors").stat().st_mtime_ns
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    (tmp_path / "run/manifest.json").write_text(json.dumps(manifest | {"state": "running"}))
    (tmp_path / "run/fits/L02/DONE").unlink()
    assert sdelens(*job, *out).returncode == 0
    assert (tmp_path / "run/fits/L00/sde.safetensors").stat().st_mtime_ns == kept
    assert sdelens(*job, *out, "--seed", 1).returncode == 0
    assert json.loads((tmp_path / "run/manifest.json").read_text())["seed"] == 1
