"""Each kind of exception and each kind of global state, by code that really does it."""

import asyncio
import errno
import gc
import locale
import logging
import os
import random
import resource
import shutil
import signal
import sys
import threading
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

import sdelens.seeds
from sdelens.containment import process_state
from sdelens.containment.contained import Unrestorable, contained
from sdelens.containment.exits import StopRequested, before_sudden_end, note_sudden_end
from sdelens.containment.module_state import MODULES
from sdelens.errors import BrokenPlugin, UsageError


def raising(error):
    def do():
        raise error

    return do


class Silent(Exception):
    """Whose message cannot be shown."""

    def __str__(self):
        raise SystemExit(0)


class Ending(BaseException):
    """No `Exception`."""


FAILURES = {
    "sys.exit(0)": (lambda: sys.exit(0), "SystemExit: 0"),
    "sys.exit()": (lambda: sys.exit(), "SystemExit"),
    "quit": (lambda: exec("quit()"), "SystemExit"),
    "os._exit": (lambda: os._exit(0), r"SystemExit: os\._exit\(0\)"),
    "posix._exit": (lambda: sys.modules[os.name]._exit(0), r"SystemExit: os\._exit\(0\)"),
    "os.execv": (lambda: os.execv("/bin/true", ["true"]), r"SystemExit: os\.execv"),
    "os.execlp": (lambda: os.execlp("true", "true"), r"SystemExit: os\.execv"),
    "KeyboardInterrupt": (raising(KeyboardInterrupt), "KeyboardInterrupt"),
    "GeneratorExit": (raising(GeneratorExit), "GeneratorExit"),
    "CancelledError": (raising(asyncio.CancelledError()), "CancelledError"),
    "a group": (raising(BaseExceptionGroup("two", [Ending(), ValueError()])), "Group: two"),
    "an exception of its own": (raising(Ending("over")), "Ending: over"),
    "no message": (raising(Silent()), "Silent: its message cannot be shown"),
    "an error": (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_whatever_a_plugin_raises_is_its_failure(name):
    do, said = FAILURES[name]
    ends = os._exit, os.execv
    failed = pytest.raises(BrokenPlugin, match=f"^the probe odd failed: .*{said}")
    with failed as raised, contained("the probe odd"):
        do()
    assert raised.value.__cause__ is not None
    assert (os._exit, os.execv) == ends


@pytest.mark.parametrize(
    "error", [UsageError("x"), MemoryError(), OSError(28, "full"), StopRequested()]
)
def test_errors_that_are_no_fault_of_a_plugin_pass(error):
    with pytest.raises(type(error)), contained("the probe odd"):
        raise error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_of_the_user_passes_and_handlers_are_as_before(number):
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), contained("outer"), contained("inner"):
            os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def caught(answer):
    """An interrupt of the user that a plugin catches."""
    with contained("outer"), contained("the probe odd"):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            exec(answer)


@pytest.mark.parametrize("answer", ["pass", "raise ValueError", "raise SystemExit(0)"])
def test_an_interrupt_that_a_plugin_catches_is_raised_at_its_end(answer):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            caught(answer)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_sudden_end_is_noted_by_the_blocks_that_it_is_in():
    noted = []
    with before_sudden_end(lambda: noted.append("left")):
        pass
    with before_sudden_end(lambda: noted.append("outer")), before_sudden_end(lambda: 1 / 0):
        note_sudden_end()
    note_sudden_end()
    assert noted == ["outer"]


def test_plugins_may_run_in_other_threads():
    found = []

    def work():
        try:
            with contained("the probe odd"):
                raise KeyboardInterrupt
        except BrokenPlugin as error:
            found.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["the probe odd failed: KeyboardInterrupt"]


def test_a_forked_child_ends_with_its_block_and_may_exit_in_it():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks in threaded processes
        with contained("the probe odd"):
            leaving = os.fork()
        with contained("the probe odd"):
            exiting = os.fork() or os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(leaving, 0)[1]) == 0
    assert os.waitstatus_to_exitcode(os.waitpid(exiting, 0)[1]) == 3


CHANGES = {
    "random numbers of Python": lambda: random.seed(1),
    "random numbers of numpy": lambda: np.random.rand(),
    "random numbers of torch": lambda: torch.rand(1),
    "torch's default type": lambda: torch.set_default_dtype(torch.float64),
    "torch's default device": lambda: torch.set_default_device("meta"),
    "the number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "the gradient mode": lambda: torch.set_grad_enabled(False),
    "the gradient mode ": lambda: KEPT.append(torch.inference_mode()) or KEPT[-1].__enter__(),
    "automatic mixed precision": lambda: torch.autocast("cpu").__enter__(),
    "automatic mixed precision ": lambda: torch.set_autocast_dtype("cpu", torch.float16),
    "automatic mixed precision  ": lambda: torch.set_autocast_cache_enabled(False),
    "modes that override torch": lambda: TorchFunctionMode().__enter__(),
    "the precision of products ": lambda: setattr(torch.backends, "fp32_precision", "bf16"),
    "the precision of products  ": lambda: setattr(
        torch.backends.mkldnn.matmul, "fp32_precision", "bf16"
    ),
    "torch's deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "the precision of products": lambda: torch.set_float32_matmul_precision("medium"),
    "flags of torch's backends": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "flags of torch's backends ": lambda: torch.backends.mkldnn.set_flags(False),
    "flags of torch's backends  ": lambda: setattr(torch.backends.mkldnn, "deterministic", True),
    "the kernels of attention": lambda: torch.backends.cuda.enable_math_sdp(False),
    "denormal numbers": lambda: torch.set_flush_denormal(True),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "hooks of all modules": lambda: torch.nn.modules.module.register_module_forward_hook(print),
    "how numbers are printed": lambda: np.set_printoptions(precision=1),
    "how numbers are printed ": lambda: np.seterr(all="raise"),
    "the environment": lambda: os.environ.update(SDELENS_CACHE="/", LANG="xx"),
    "the environment ": lambda: os.environ.pop("PATH"),
    "the environment  ": lambda: os.environ.update(HF_HOME="/", PATH="/"),
    "sys.path": lambda: sys.path.insert(0, "/"),
    "sys.path ": lambda: setattr(sys, "path", [*sys.path]),
    "sys.modules": lambda: sys.modules.update(json=logging),
    "sys.modules ": lambda: sys.modules.pop("numpy.linalg"),
    "functions of other modules": lambda: setattr(torch.nn.functional, "gelu", torch.relu),
    "functions of other modules ": lambda: setattr(np, "mean", np.sum),
    "functions of other modules  ": lambda: setattr(sys.modules["math"], "sqrt", abs),
    "functions of other modules   ": lambda: setattr(torch.Tensor, "add", torch.Tensor.sub),
    "functions of other modules    ": lambda: setattr(torch.nn.Module, "__call__", print),
    "functions of other modules     ": lambda: setattr(sdelens.seeds, "derive", max),
    "functions of other modules      ": lambda: delattr(torch, "exp"),
    "limits of resources": lambda: resource.setrlimit(
        resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    ),
    "the working directory": lambda: os.chdir("/"),
    "the mode of new files": lambda: os.umask(0o777),
    "the filters of warnings": lambda: warnings.simplefilter("ignore"),
    "the filters of warnings ": lambda: warnings.catch_warnings().__enter__(),
    "logging": lambda: logging.disable(logging.CRITICAL),
    "logging ": lambda: logging.getLogger("transformers").setLevel(1),
    "logging  ": lambda: logging.root.handlers.clear(),
    "builtins": lambda: setattr(sys.modules["builtins"], "sum", max),
    "settings of the interpreter": lambda: sys.setrecursionlimit(900),
    "settings of the interpreter ": gc.disable,
    "the locale": lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8"),
    "matplotlib's settings": lambda: mpl.rcParams.update({"font.size": 3}),
    "matplotlib's settings ": lambda: mpl.rcParams["font.family"].append("serif"),
    "matplotlib's settings  ": lambda: __import__("matplotlib.pyplot").pyplot.figure(),
    "profiling": lambda: sys.setprofile(lambda *_: None),
    "sys.stdout": lambda: setattr(sys, "stdout", None),
    "sys.excepthook": lambda: setattr(sys, "excepthook", print),
    "threading.excepthook": lambda: setattr(threading, "excepthook", print),
    "signal handlers": lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),
    "signal handlers ": lambda: signal.signal(signal.SIGUSR1, print),
    "an alarm": lambda: signal.alarm(1000),
}
KEPT = []


@pytest.fixture
def other_locale():
    before = locale.setlocale(locale.LC_ALL)
    locale.setlocale(locale.LC_ALL, "C")
    logging.getLogger("transformers")
    logging.root.addHandler(handler := logging.NullHandler())
    yield
    logging.root.removeHandler(handler)
    locale.setlocale(locale.LC_ALL, before)


def state():
    """All values, in a form that can be compared later."""
    from sdelens.containment.numerical_state import NUMERICAL

    parts = (*MODULES, *NUMERICAL, *process_state.PROCESS, *process_state.MAIN_THREAD)
    return [(part, part.read()) for part in parts]


@pytest.mark.parametrize("name", CHANGES)
def test_global_state_is_restored_and_named_in_one_line(name, capsys, monkeypatch, other_locale):
    monkeypatch.delitem(sys.modules, "beartype", raising=False)  # which draws, too
    __import__("matplotlib.pyplot")
    before = state()
    with contained("the probe odd"):
        CHANGES[name]()
    changed = [part.name for part, value in before if not part.same(part.read(), value)]
    assert [one for one in changed if one != "the random numbers of Python"] == []
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("the probe odd changed ")
    assert name.strip() in line
    assert line.endswith(": restored")


def test_a_plugin_that_changes_nothing_is_not_named(capsys, monkeypatch):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    with contained("the probe good"):
        torch.rand(3, generator=torch.Generator())
        logging.warning("once")
        warnings.filterwarnings("ignore", message="of one kind")
        sys.path.append("/vendored")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = "/tmp"  # as torch does on first use
        __import__("torch._dynamo")  # which wraps a function of torch
    logging.root.handlers.clear()
    sys.path.remove("/vendored")
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
    assert "changed" not in capsys.readouterr().err


def test_state_is_restored_after_an_error_too(capsys):
    before = Path.cwd()
    with pytest.raises(BrokenPlugin), contained("the probe odd"):
        sys.exit(os.chdir("/"))
    assert Path.cwd() == before
    assert capsys.readouterr().err == "the probe odd changed the working directory: restored\n"


def test_what_cannot_be_restored_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    lost = pytest.raises(Unrestorable, match=r"changed the working .* cannot be restored")
    with lost, contained("the probe odd"):
        shutil.move(tmp_path / "here", tmp_path / "there") and os.chdir(tmp_path)


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ENOSPC])
def test_no_plugin_is_blamed_for_a_disk(number):
    with pytest.raises(OSError, match=os.strerror(number)), contained("the reporter x"):
        raise OSError(number, os.strerror(number))
