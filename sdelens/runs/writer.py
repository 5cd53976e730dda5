"""One writer per run folder, for the duration of its job."""

import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from filelock import FileLock, Timeout

from sdelens.errors import UsageError
from sdelens.runs.folder import LOCK, WRITER, holds_run, require_free, sweep
from sdelens.runs.run import Run
from sdelens.store import read_json, write_json, writing

F = TypeVar("F", bound=Callable[..., Any])
WAIT = 60.0
"""Seconds for which a copy waits for the writer of its original."""


@contextmanager
def sole_writer(folder: Path, *, wait: float = 0) -> Iterator[None]:
    """Hold the lock of a run's folder; parts of a job within the job pass.

    Raises `UsageError` if another job holds it after `wait` seconds, naming that job, or if the
    folder has other files. The lock ends with its process, so that of a killed job is free.
    """
    lock = _lock(folder)
    if lock.is_locked:  # by this thread
        yield
        return
    if not holds_run(folder):
        require_free(folder)
    with writing(folder):
        try:
            lock.acquire(wait)
        except Timeout:
            raise UsageError(
                f"{folder} is being written by {_writer(folder)}: wait until it ends, or stop it"
            ) from None
    try:
        write_json(folder / WRITER, _this_process())
        sweep(folder)
        yield
    finally:
        with suppress(OSError):
            (folder / WRITER).unlink(missing_ok=True)
            (folder / LOCK).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):
            folder.rmdir()  # if the job failed before it wrote anything


def written_by_another(folder: Path) -> bool:
    """Whether a job other than that of this thread writes to a run's folder."""
    if not (folder / LOCK).exists() or _lock(folder).is_locked:
        return False
    try:
        with _lock(folder):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that is only readable has no writer
        return False


def tidy(folder: Path) -> None:
    """Remove what a job that was killed at its very end has left, unless another job writes."""
    if (folder / LOCK).exists():
        with suppress(UsageError, OSError), sole_writer(folder):
            pass


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Keep writers out of a run that is copied; a read-only folder has none."""
    with sole_writer(folder, wait=WAIT) if os.access(folder, os.W_OK) else nullcontext():
        yield


def written_alone(function: F) -> F:
    """Hold the lock of the run that a function writes to, which is its first argument."""

    @wraps(function)
    def locked(run: Run, *args: Any, **kwargs: Any) -> Any:
        with sole_writer(run.folder):
            return function(run, *args, **kwargs)

    return cast(F, locked)


def _lock(folder: Path) -> FileLock:
    """The lock of a run's folder, one object for each thread."""
    return FileLock(folder.resolve() / LOCK, timeout=0, is_singleton=True)


def _this_process() -> dict[str, str | int]:
    """What other jobs are told about this one."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "process": os.getpid(),
        "host": platform.node(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _writer(folder: Path) -> str:
    """The job that holds the lock of a folder, in words."""
    try:
        found = read_json(folder / WRITER)
        return "process {process} on {host} since {since} ({command})".format(**found)
    except (
        UsageError,
        OSError,
        TypeError,
        KeyError,
        RecursionError,
    ):  # it has just begun or ended
        return "another process"
