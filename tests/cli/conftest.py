"""The command, in this process or in one of its own, and one finished run of a small model."""

import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.small import COMMAND, QUICK, sentences, small_model


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The folder of the small model."""
    return small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="session")
def texts(tmp_path_factory):
    """Forty documents of one line each."""
    file = tmp_path_factory.mktemp("texts") / "lines.txt"
    file.write_text("\n".join(sentences(40)))
    return file


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """One thread, no network, a cache of its own."""
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "SDELENS_CACHE": str(tmp_path_factory.mktemp("cache")),
        "COLUMNS": "100",
    }


@pytest.fixture(scope="session")
def process(environment, tmp_path_factory):
    """Run the command as a process of its own and wait for it."""
    folder = tmp_path_factory.mktemp("cwd")

    def run(*arguments, **variables):
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            env=environment | variables,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=600,
        )

    return run


@pytest.fixture(scope="session")
def sdelens(environment, tmp_path_factory):
    """Run the command in this process, which has imported the heavy libraries already."""
    folder = tmp_path_factory.mktemp("cwd")

    def run(*arguments, **variables):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (environment | variables).items():
                patch.setenv(name, value)
            patch.chdir(folder)
            patch.setattr("sys.argv", ["sdelens", *map(str, arguments)])
            return outcome()

    return run


def outcome():
    """What the command leaves: its exit code and what it printed."""
    import torch

    from sdelens.registry import forget, registered
    from sdelens_cli.interrupts import SIGNALS, interrupts
    from sdelens_cli.main import command

    out, err = StringIO(), StringIO()
    plugins, threads, hook = dict(registered()), torch.get_num_threads(), sys.unraisablehook
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        torch.set_num_threads(1)
        with redirect_stdout(out), redirect_stderr(err):
            interrupts.watch()
            code = command()
    finally:
        torch.set_num_threads(threads)
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
        forget(plugins)
    return CompletedProcess((), code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def job(model):
    """The arguments of a quick fit of two layers."""
    return ("fit", "--model", model, "--layer", "0,2", "--documents", 40, "--length", 24, *QUICK)


@pytest.fixture(scope="session")
def finished(process, job, tmp_path_factory):
    """The folder of a finished run; what `--json` printed lies beside it."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    done = process(*job, "--out", folder, "--json")
    assert done.returncode == 0, done.stderr
    (folder.parent / "printed.json").write_text(done.stdout)
    (folder.parent / "stderr.txt").write_text(done.stderr)
    return folder


@pytest.fixture(scope="session")
def printed(finished):
    """The one JSON object that the finished run printed."""
    return json.loads(Path(finished.parent, "printed.json").read_text())


@pytest.fixture
def only(monkeypatch):
    """As if these analyzers were the ones that are installed."""
    from sdelens.registry import plugins

    def install(*names):
        found = {name: plugins("analyzer")[name] for name in names}
        monkeypatch.setattr("sdelens.runs.run_analyzers.plugins", lambda kind: found)

    return install
