"""Interrupts: one orderly end, and one line on how to continue."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import _exit  # before plugins are contained, in which os._exit is refused
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
PATIENCE = 3.0
"""Seconds during which further signals mean the same interrupt."""
SHOW_CURSOR = "\x1b[?25h"


class Interrupts:
    """A handler of signals: the first raises `KeyboardInterrupt`, one after a while ends at once.

    During an import, where an exception may be swallowed or replaced by another, the first ends
    the process at once.
    """

    def __init__(self) -> None:
        self.first: float | None = None
        self.advice: str | None = None

    def watch(self) -> None:
        """Handle signals, except those that are ignored, as nohup asks."""
        self.first = self.advice = None
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self)

    @staticmethod
    def ignore() -> None:
        """Ignore signals, because nothing is left to do but to exit."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        del number
        now, before = time.monotonic(), self.first
        if imports(frame) or (before is not None and now - before > PATIENCE):
            self.leave_at_once()
        if before is None:
            self.first = now
            raise KeyboardInterrupt

    @contextmanager
    def continued_by(self, command: str) -> Iterator[None]:
        """A block after whose interruption this command continues."""
        self.advice = command
        yield
        self.advice = None

    @property
    def line(self) -> str:
        """How to continue."""
        from sdelens_cli.suggestions import again  # not before signals are handled

        return f"Interrupted. Continue with: {self.advice or again(sys.argv[1:])}"

    def leave_at_once(self) -> NoReturn:
        """End the process without cleaning up; files are complete or absent at any time."""
        self.ignore()
        with suppress(OSError):
            # not by the stream, which may be in the middle of a write
            cursor = SHOW_CURSOR if os.isatty(2) else ""
            os.write(2, os.fsencode(f"{cursor}{self.line}\n"))
        _exit(INTERRUPTED)


def imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


interrupts = Interrupts()
"""Those of this process."""
