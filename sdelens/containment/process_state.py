"""Global state of Python and the process: environment, folder, signals, streams, settings."""

import builtins
import gc
import logging
import os
import random
import signal
import sys
import threading
import warnings
from contextlib import suppress
from functools import partial
from importlib import import_module
from locale import LC_ALL, setlocale
from typing import Any

from sdelens.containment.part import Part, attribute, same_objects

resource: Any = None
with suppress(ImportError):  # of Unix
    resource = import_module("resource")
LOGGERS = logging.root.manager.loggerDict
LIBRARIES = (
    *("TORCH", "PYTORCH", "CUDA", "CUBLAS", "NCCL", "NVIDIA", "TRITON", "KMP_", "OMP_", "MKL_"),
    *("HF_", "TRANSFORMERS", "TOKENIZERS", "DATASETS", "ACCELERATE", "TF_", "JAX_", "XLA_"),
    *("MPL", "QT_", "NPY_", "NUMEXPR", "RAY_", "WANDB", "DISABLE_CUPTI", "TEARDOWN_CUPTI"),
)
"""How the names of variables begin that libraries set by themselves, some on first use."""


def _set_environment(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _set_by_plugin(now: dict[str, str], before: dict[str, str]) -> bool:
    """Whether more changed than variables that libraries set where the user had not."""
    known = {name: now.get(name) for name in before} == before
    return not (known and all(name.startswith(LIBRARIES) for name in now.keys() - before.keys()))


def _unchecked(now: Any, before: Any) -> bool:
    """Whether no shapes are checked, which draws from Python's random numbers."""
    del now, before
    return "beartype" not in sys.modules


def _limits() -> dict[int, tuple[int, int]]:
    if resource is None:
        return {}
    known = {getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
    return {number: resource.getrlimit(number) for number in known}


def _set_limits(before: dict[int, tuple[int, int]]) -> None:
    for number, (soft, hard) in before.items():
        now = resource.getrlimit(number)[1]
        if now in (hard, resource.RLIM_INFINITY):
            resource.setrlimit(number, (soft, hard))
        else:  # only root may raise it again
            resource.setrlimit(
                number, (now if soft == resource.RLIM_INFINITY else min(soft, now), now)
            )
    if _limits() != before:
        raise ValueError("a maximum was lowered")


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:  # it was removed
        return None


def _set_folder(before: str | None) -> None:
    if before is not None:
        os.chdir(before)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _handlers() -> dict[int, Any]:
    found = ((number, signal.getsignal(number)) for number in signal.valid_signals())
    return {number: handler for number, handler in found if handler is not None}


def _set_handlers(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _alarm() -> bool:
    return hasattr(signal, "getitimer") and signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _stop_alarm(before: bool) -> None:
    if not before:  # an alarm that has gone off needs no repetition
        signal.setitimer(signal.ITIMER_REAL, 0)


def _filters() -> tuple[Any, ...]:
    return warnings.filters, [*warnings.filters], warnings.showwarning


def _same_filters(now: tuple[Any, ...], before: tuple[Any, ...]) -> bool:
    """Libraries add filters of single warnings when they are imported."""
    known = set(map(id, before[1]))
    rows = [row for row in now[1] if id(row) in known or not _is_of_single_warning(*row)]
    return (now[0] is before[0], rows, now[2]) == (True, before[1], before[2])


def _is_of_single_warning(_: str, message: Any, category: type, module: Any, line: int) -> bool:
    return bool(message or module or line) or category.__module__ != "builtins"


def _set_filters(before: tuple[Any, ...]) -> None:
    held, rows, show = before
    held[:] = rows
    warnings.filters, warnings.showwarning = held, show
    with warnings.catch_warnings():  # its end makes Python read the filters again
        pass


def _logging() -> dict[str, Any]:
    levels: dict[str, Any] = {
        name: (each.level, each.disabled, each.propagate, [*each.handlers])
        for name, each in [("", logging.root), *LOGGERS.items()]
        if isinstance(each, logging.Logger)
    }
    return levels | {"disabled below": logging.root.manager.disable}


def _same_logging(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """A new logger is the plugin's own, and the first message adds a handler to the root."""
    return all(
        now[name] == row
        if name == "disabled below"
        else now[name][:3] == row[:3] and {*now[name][3]} >= {*row[3]}
        for name, row in before.items()
    )


def _set_logging(before: dict[str, Any]) -> None:
    rows = dict(before)
    logging.disable(rows.pop("disabled below"))
    for name, (level, disabled, propagate, handlers) in rows.items():
        each = logging.getLogger(name)
        each.setLevel(level)
        each.disabled, each.propagate = disabled, propagate
        each.handlers[:] = handlers


def _builtins() -> dict[str, Any]:
    # an interpreter keeps its last value in _
    return {name: value for name, value in vars(builtins).items() if name != "_"}


def _set_builtins(before: dict[str, Any]) -> None:
    for name in _builtins().keys() - before.keys():
        delattr(builtins, name)
    vars(builtins).update(before)


def _interpreter() -> tuple[Any, ...]:
    return sys.getrecursionlimit(), sys.getswitchinterval(), gc.isenabled()


def _set_interpreter(before: tuple[Any, ...]) -> None:
    recursion, switch, collects = before
    sys.setrecursionlimit(recursion)
    sys.setswitchinterval(switch)
    (gc.enable if collects else gc.disable)()


def _matplotlib() -> tuple[dict[str, Any], list[int]] | None:
    """Matplotlib's settings and open figures; None if it is not imported."""
    library, pyplot = map(sys.modules.get, ("matplotlib", "matplotlib.pyplot"))
    if library is None:
        return None
    return _raw(library.rcParams), pyplot.get_fignums() if pyplot else []


def _raw(settings: Any) -> dict[str, Any]:
    """The settings without choosing a backend, which looking it up would do."""
    return {k: [*v] if isinstance(v, list) else v for k, v in dict.items(settings)}


def _imported() -> tuple[dict[str, Any], list[int]]:
    """The settings with which matplotlib was imported."""
    library = sys.modules["matplotlib"]
    backend = {"backend": dict.get(library.rcParams, "backend")}
    return _raw(library.rcParamsOrig) | backend, []


def _same_matplotlib(now: Any, before: Any) -> bool:
    return now is None or now == (before or _imported())


def _set_matplotlib(before: Any) -> None:
    settings, figures = before or _imported()
    current, pyplot = sys.modules["matplotlib"].rcParams, sys.modules.get("matplotlib.pyplot")
    dict.clear(current)
    dict.update(current, settings)
    if pyplot:
        for number in [n for n in pyplot.get_fignums() if n not in figures]:
            pyplot.close(number)


def _closed() -> list[bool]:
    return [stream.closed for stream in (sys.stdout, sys.stderr) if stream]


def _reopen(before: list[bool]) -> None:
    raise ValueError(f"closed: {_closed()}, before: {before}")


PROCESS = (
    Part("the random numbers of Python", random.getstate, random.setstate, by_plugin=_unchecked),
    Part("the environment", lambda: dict(os.environ), _set_environment, by_plugin=_set_by_plugin),
    Part("limits of resources", _limits, _set_limits),
    Part("the working directory", _folder, _set_folder),
    Part("the mode of new files", _umask, os.umask),
    Part("the filters of warnings", _filters, _set_filters, _same_filters),
    Part("logging", _logging, _set_logging, _same_logging),
    Part("builtins", _builtins, _set_builtins, same_objects),
    Part("settings of the interpreter", _interpreter, _set_interpreter),
    Part("the locale", partial(setlocale, LC_ALL), partial(setlocale, LC_ALL)),
    Part("matplotlib's settings", _matplotlib, _set_matplotlib, _same_matplotlib),
    Part("tracing", sys.gettrace, sys.settrace),
    Part("profiling", sys.getprofile, sys.setprofile),
    *(attribute(sys, name, f"sys.{name}") for name in ("stdin", "stdout", "stderr")),
    *(attribute(sys, f"{name}hook", f"sys.{name}hook") for name in ("except", "display")),
    Part("whether streams are open", _closed, _reopen),  # of those just restored
    attribute(sys, "unraisablehook", "sys.unraisablehook"),
    attribute(threading, "excepthook", "threading.excepthook"),
)
MAIN_THREAD = (
    Part("signal handlers", _handlers, _set_handlers, same_objects),
    Part("an alarm", _alarm, _stop_alarm),
)
"""Parts that only the main thread may set."""
