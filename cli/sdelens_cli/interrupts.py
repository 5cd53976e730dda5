"""Interrupts: one orderly end, and one line on how to continue."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import _exit  # before plugins are contained, in which os._exit is refused
from types import FrameType
from typing import Any, NoReturn

from sdelens_cli.suggestions import again  # which may not be half imported when a signal comes

INTERRUPTED = 130
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
PATIENCE = 3.0
"""Seconds during which further signals mean the same interrupt."""
SHOW_CURSOR = "\x1b[?25h"


class Interrupts:
    """A handler of signals: in the command, the first raises `KeyboardInterrupt`.

    It ends the process at once where the exception could be lost: outside the command, during an
    import, where it may be replaced by another, in code whose exceptions are ignored, such as
    finalizers, and if the process goes on for a while.
    """

    def __init__(self) -> None:
        self.first: float | None = None
        self.advice: str | None = None
        self.in_command = False
        self.over = False
        self.process = os.getpid()

    def watch(self) -> None:
        """Handle signals, except those that are ignored, as nohup asks."""
        self.first = self.advice = None
        self.over, self.process = False, os.getpid()
        sys.unraisablehook = self.unraisable
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self)

    @contextmanager
    def raised(self) -> Iterator[None]:
        """The block in which `KeyboardInterrupt` is raised."""
        self.in_command = True
        try:
            yield
        finally:
            self.in_command = False

    def ignore(self) -> None:
        """Ignore signals, because nothing is left to do but to exit."""
        self.over = True

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self.process:  # a child has an end of its own
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if self.over:
            return
        now, before = time.monotonic(), self.first
        late = before is not None and now - before > PATIENCE
        if late or not self.in_command or imports(frame):
            self.leave_at_once()
        if before is None:
            self.first = now
            raise KeyboardInterrupt

    def unraisable(self, lost: Any) -> None:
        """End the process at once if an interrupt is about to be ignored."""
        if self.first is not None and isinstance(lost.exc_value, KeyboardInterrupt):
            if not self.over:
                self.leave_at_once()
            return
        sys.__unraisablehook__(lost)

    @contextmanager
    def continued_by(self, command: str) -> Iterator[None]:
        """A block after whose interruption this command continues."""
        self.advice = command
        yield
        self.advice = None

    @property
    def line(self) -> str:
        """How to continue."""
        return f"Interrupted. Continue with: {self.advice or again(sys.argv[1:])}"

    def leave_at_once(self) -> NoReturn:
        """End the process without cleaning up; files are complete or absent at any time."""
        self.ignore()
        if exits := sys.modules.get("sdelens.containment.exits"):  # or no work has begun
            with suppress(Exception):
                exits.note_sudden_end()
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
