"""Standard streams that escape control characters and survive writes that fail."""

import errno
import io
import os
import re
import sys
from typing import Any, TextIO, cast

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters but newline and tab, and characters that reorder a line."""
BAR = re.compile(r"\r(?!\n)|(?:\n|\x1b\[A)+\Z")
"""How the progress bars of libraries begin: back to the start of the line, or lines up."""


def escaped(text: str) -> str:
    r"""A text whose control characters are written out.

    >>> escaped("red: \x1b[31m")
    'red: \\x1b[31m'
    """
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def inline(value: object) -> str:
    r"""A path or name on a single line.

    >>> inline("a\nb")
    'a\\nb'
    """
    return escaped(str(value)).replace("\n", "\\n").replace("\t", "\\t")


class Steady:
    """A text stream that keeps its first failure instead of raising it; later text is dropped."""

    def __init__(self, stream: Any) -> None:
        if isinstance(stream, io.TextIOWrapper):  # what its encoding lacks is escaped
            stream.reconfigure(errors="backslashreplace")
        self.stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        self._attempt(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._attempt(self.stream.flush)

    def _attempt(self, act: Any) -> None:
        try:
            act()
        except OSError as error:
            self.failure = self.failure or error
            # what is left in the buffer would fail again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
        except ValueError as error:  # a plugin closed it
            self.failure = self.failure or OSError(errno.EBADF, str(error))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Printable:
    """A stream that escapes control characters; rich, which writes its own, goes around it."""

    def __init__(self, stream: Any, *, bars: bool) -> None:
        self.rich_proxied_file, self.bars = Steady(stream), bars

    def write(self, text: str) -> int:
        found = BAR.match(text) if self.bars else None
        start = found.end() if found else 0
        self.rich_proxied_file.write(text[:start] + escaped(text[start:]))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def open_streams() -> None:
    """Replace stdout and stderr; closed ones become the null device."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # or the next file opened would take its place
            os.open(os.devnull, os.O_RDWR)
    null = os.devnull
    out, err = (stream or open(null, "w") for stream in (sys.stdout, sys.stderr))  # noqa: PTH123, SIM115
    sys.stdout = cast(TextIO, Printable(out, bars=False))
    sys.stderr = cast(TextIO, Printable(err, bars=True))


def lost_output() -> OSError | None:
    """Why results could not be written to stdout."""
    sys.stdout.flush()
    return loss_of(sys.stdout)


def loss_of(stream: object) -> OSError | None:
    """Why a stream was not written; a reader that has gone is no error."""
    failure: OSError | None = getattr(stream, "failure", None)
    gone = failure is not None and failure.errno in (errno.EPIPE, errno.ECONNRESET)
    return None if gone else failure
