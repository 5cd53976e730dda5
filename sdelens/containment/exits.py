"""Ends of the process: those that a plugin may not cause, and signals that the user sent."""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

ENDS = ("_exit", "execv", "execve")
"""Functions of `os` that end this program without running anything else."""
STOPS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Signals by which a user stops a program."""
_exit = os._exit
_unfinished: list[Callable[[], object]] = []


@contextmanager
def before_sudden_end(note: Callable[[], object]) -> Iterator[None]:
    """A block of work whose end by `note_sudden_end` is noted by a call."""
    _unfinished.append(note)
    try:
        yield
    finally:
        if note in _unfinished:
            _unfinished.remove(note)


def note_sudden_end() -> None:
    """Note that the process ends within the blocks of `before_sudden_end` that it is in."""
    while _unfinished:
        with suppress(Exception):  # the disk may be full
            _unfinished.pop()()


class StopRequested(KeyboardInterrupt):
    """The user stopped the work by other means than a signal."""


def leave(code: int) -> NoReturn:
    """End the process with a code, after all functions that were registered with `atexit`.

    Nothing else of the interpreter runs: neither finalizers nor threads are waited for.
    """
    sys.unraisablehook = _failed_at_exit
    with suppress(BaseException), no_exit():
        atexit._run_exitfuncs()
    for flush in _flushes():
        with suppress(BaseException):
            flush()
    _exit(code)


def _failed_at_exit(lost: Any) -> None:
    """One line for a function that failed, which the interpreter would print a traceback for."""
    from sdelens.errors import words_of

    print(f"a function registered with atexit failed: {words_of(lost.exc_value)}", file=sys.stderr)


def _flushes() -> Iterator[Callable[[], object]]:
    """What writes the buffers of standard streams, those of C included."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if stream:
            yield stream.flush
    if library := sys.modules.get("ctypes"):
        yield lambda: library.CDLL(None).fflush(None)


@contextmanager
def no_exit() -> Iterator[None]:
    """`os._exit` and `os.exec…` raise `SystemExit` in this process, but not in its children.

    A child that a plugin forked ends with the block, since what follows is the parent's work.
    """
    owner, places = os.getpid(), (os, sys.modules[os.name])
    before = [(place, name, getattr(place, name)) for place in places for name in ENDS]
    for place, name, end in before:
        setattr(place, name, _refusing(name, end, owner))
    code = 1
    try:
        yield
        code = 0
    finally:
        if os.getpid() != owner:
            _exit(code)
        for place, name, end in before:
            setattr(place, name, end)


def _refusing(name: str, end: Callable[..., Any], owner: int) -> Callable[..., NoReturn]:
    def refused(*arguments: Any, **keywords: Any) -> NoReturn:
        if os.getpid() != owner:
            end(*arguments, **keywords)
        raise SystemExit(f"os.{name}({', '.join(map(repr, arguments))})")

    return refused


@contextmanager
def heard_signals() -> Iterator[set[int]]:
    """The signals of `STOPS` that interrupted the block; their handlers are called as before.

    An interrupt that was caught in the block is raised at its end.
    """
    heard: set[int] = set()
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in STOPS}
    before = {number: handler for number, handler in before.items() if callable(handler)}

    def hear(number: int, frame: FrameType | None) -> None:
        try:
            before[number](number, frame)
        except KeyboardInterrupt:
            heard.add(number)
            raise

    for number in before:
        signal.signal(number, hear)
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if heard:
        raise KeyboardInterrupt
