"""What a plugin does to the process, the streams and global state stays its own."""

import json
import shutil

import numpy as np
import pytest
import torch

from sdelens import registry

ODD = '''
import ctypes, os, subprocess, sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

import sdelens
from sdelens.report import Estimate, Finding
from sdelens_plugins.sources.sampled import SampledSource

print("on import")


@dataclass(frozen=True)
class Base:
    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"


@sdelens.analyzer("odd")
@dataclass(frozen=True)
class Odd(Base):
    """Does what the environment says."""

    def analyze(self, study, *, seed):
        exec(os.environ["ODD"], {**globals(), "study": study})
        return Finding(str(study.single[0]), "Odd.", "")


@sdelens.analyzer("calm")
@dataclass(frozen=True)
class Calm(Base):
    """Answers."""

    def analyze(self, study, *, seed):
        return Finding(str(study.single[0]), "Calm.", "")


sdelens.analyzer("last")(Calm)


@sdelens.analyzer("sensitive")
@dataclass(frozen=True)
class Sensitive(Base):
    """Depends on everything that it should not depend on."""

    def analyze(self, study, *, seed):
        view, viewed = study.single
        law = sum(float(t.double().sum()) for t in viewed.fitted.law.tensors().values())
        values = {
            "random": np.random.rand() + float(torch.rand(1)),
            "type": float(torch.tensor(0.1)),
            "threads": float(torch.get_num_threads()),
            "law": law,
            "folder": float(len(os.getcwd())),
        }
        return Finding(str(view), "Same.", "", tuple(Estimate(k, v) for k, v in values.items()))


@sdelens.source("odd")
@dataclass(frozen=True)
class OddSource(SampledSource):
    """Does the same."""

    def documents(self, model, *, seed):
        exec(os.environ["ODD"])
        yield from super().documents(model, seed=seed)
'''


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    file = tmp_path_factory.mktemp("plugins") / "odd.py"
    file.write_text(ODD)
    return file


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


ENDS = ["sys.exit(0)", "os._exit(0)", "raise KeyboardInterrupt", "raise BaseException('over')"]


@pytest.mark.parametrize("end", ENDS)
def test_the_other_analyzers_run_and_the_failure_is_reported_at_the_end(sdelens, run, odd, end):
    names = ("calm", "odd", "last")
    done = sdelens("analyze", run, *names, "--plugin", odd, "--json", ODD=end)
    assert done.returncode == 6
    found = [finding["analyzer"] for finding in json.loads(done.stdout)["findings"]]
    assert found == ["calm"] * 2 + ["last"] * 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: the analyzer odd L00 failed: ")
    assert "the analyzer odd L02 failed: " in last


@pytest.mark.parametrize("name", ["analyze", "report"])
def test_who_ends_the_process_without_being_named_is_a_failure_too(
    sdelens, run, odd, name, monkeypatch
):
    known = registry.plugins
    monkeypatch.setattr(
        "sdelens.runs.run_analyzers.plugins",
        lambda kind: {name: known(kind)[name] for name in ("odd", "calm")},
    )
    shutil.rmtree(run / "analysis", ignore_errors=True)
    done = sdelens(name, run, "--plugin", odd, ODD="sys.exit(0)")
    assert done.returncode == 6
    assert "left out: odd L00: SystemExit: 0" in done.stderr
    assert (run / "analysis" / "calm" / "L00" / "finding.json").exists()
    assert (run / "report.html").exists() == (name == "report")


def test_the_next_finding_has_the_same_bytes_after_a_plugin_that_changes_everything(
    sdelens, run, odd
):
    change = (
        "np.random.seed(3); torch.manual_seed(3); os.chdir('/');"
        "torch.set_default_dtype(torch.float64); torch.set_num_threads(2);"
        "[t.add_(1) for t in study.single[1].fitted.law.tensors().values()]"
    )
    names, kept = ("sensitive", "trajectory"), {}
    before = np.random.get_state(), torch.random.get_rng_state()
    for plugins in ((), ("odd",)):
        shutil.rmtree(run / "analysis", ignore_errors=True)
        np.random.seed(1)
        torch.manual_seed(1)
        done = sdelens("analyze", run, *plugins, *names, "--plugin", odd, "-q", ODD=change)
        assert done.returncode == 0, done.stderr
        files = [f for n in names for f in (run / "analysis" / n).rglob("*") if f.is_file()]
        kept[plugins] = {str(f.relative_to(run)): f.read_bytes() for f in files}
    np.random.set_state(before[0])
    torch.random.set_rng_state(before[1])
    assert [name for name, data in kept[()].items() if kept["odd",].get(name) != data] == []
    assert "the analyzer odd L00 changed " in done.stderr
    assert "what it was given to read" in done.stderr


def test_json_is_all_there_is_on_stdout(process, run, odd):
    loud = (
        "print('python'); os.write(1, b'descriptor'); os.system('echo shell');"
        "subprocess.run(['echo', 'child']); ctypes.CDLL(None).puts(b'from C');"
        "sys.__stdout__.write('original');"
        "__import__('atexit').register(lambda: print('late'))"
    )
    done = process("analyze", run, "odd", "--plugin", odd, "--json", ODD=loud)
    assert done.returncode == 0, done.stderr
    assert [f["analyzer"] for f in json.loads(done.stdout)["findings"]] == ["odd", "odd"]
    said = ("on import", "python", "descriptor", "shell", "child", "from C", "original", "late")
    assert [word for word in said if word not in done.stderr] == []


def test_json_of_a_fit_is_alone_too(process, job, odd, tmp_path):
    loud = "print('python'); os.system('echo shell')"
    words = (*job, "--source", "odd", "--probe", "constant", "--plugin", odd, "--json")
    words = [word for word in words if not str(word).startswith("probe.") and word != "--set"]
    done = process(*words, "--out", tmp_path / "run", ODD=loud)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == str(tmp_path / "run")


def test_a_source_that_ends_the_process_gives_no_exit_0_and_no_running_manifest(
    process, job, odd, tmp_path
):
    words = [word for word in job if not str(word).startswith("probe.") and word != "--set"]
    words += ["--source", "odd", "--probe", "constant", "--plugin", odd]
    done = process(*words, "--out", tmp_path / "run", ODD="os._exit(0)")
    assert done.returncode == 6
    assert "the source odd failed: SystemExit: os._exit(0)" in done.stderr
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["state"] == "failed"


LATE = (
    "__import__('threading').Thread(target=lambda: (__import__('time').sleep(0.05), os._exit(0)))"
)


@pytest.mark.parametrize(
    "end",
    [
        "__import__('atexit').register(os._exit, 0)",
        "__import__('weakref').finalize(Odd, os._exit, 0)",
        f"{LATE}.start()",
        "sys.excepthook = lambda *_: os._exit(0)",
    ],
)
def test_nothing_that_a_plugin_leaves_behind_changes_the_exit_code(process, run, odd, end):
    done = process("analyze", run, "odd", "--plugin", odd, ODD=f"{end}\nraise ValueError('x')")
    assert done.returncode == 6, done.stderr
    assert "Exception ignored" not in done.stderr
    assert "Error: the analyzer odd L00 failed: ValueError: x" in done.stderr


def test_a_command_waits_for_no_thread_of_a_plugin(process, run, odd):
    thread = "__import__('threading').Thread(target=__import__('time').sleep, args=(600,)).start()"
    assert process("analyze", run, "odd", "--plugin", odd, "-q", ODD=thread).returncode == 0


def test_a_plugin_that_closes_stdout_is_named(process, run, odd):
    done = process("analyze", run, "odd", "--plugin", odd, "-q", ODD="sys.stdout.close()")
    assert done.returncode == 6
    assert "the analyzer odd L00 changed whether streams are open" in done.stderr
