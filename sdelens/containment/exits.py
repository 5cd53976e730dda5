"""Ends of the process that a plugin may not cause, and signals that the user sent."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

ENDS = ("_exit", "execv", "execve")
"""Functions of `os` that end this program without running anything else."""
STOPS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Signals by which a user stops a program."""
_exit = os._exit


class StopRequested(KeyboardInterrupt):
    """The user stopped the work by other means than a signal."""


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
    """The signals of `STOPS` that arrived in the block; their handlers are called as before."""
    heard: set[int] = set()
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in STOPS}
    before = {number: handler for number, handler in before.items() if callable(handler)}

    def hear(number: int, frame: FrameType | None) -> None:
        heard.add(number)
        before[number](number, frame)

    for number in before:
        signal.signal(number, hear)
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
