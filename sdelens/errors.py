"""What can go wrong, and the exit code that each kind of failure has.

::

    SdelensError
    ├── UsageError        2  a setting that cannot be: layer out of range, contradictory options
    ├── UnknownName       3  no such model, source, probe, analyzer or reporter
    ├── Unreachable       4  the hub cannot be reached, or the model is gated
    ├── OutOfMemory       5  memory ran out with a batch of one, or the disk is full
    ├── BrokenPlugin      6  a plugin that was asked for does not load, or fails
    └── BadNumbers        7  NaN, infinity or divergence

Every message says what was expected, what came and what to do.
"""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import ClassVar


class SdelensError(Exception):
    """The root of all errors that are meant for the user."""

    exit_code: ClassVar[int] = 1


class UsageError(SdelensError, ValueError):
    """A setting that cannot be."""

    exit_code = 2


class UnknownName(SdelensError, LookupError):
    """Nothing goes by that name."""

    exit_code = 3

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str], more: str = "") -> "UnknownName":
        """An error that offers the nearest of the known names."""
        names = sorted(known)
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        listed = ", ".join(names) or "none"
        return cls(f"No {kind} named {name!r}.{hint} Known: {listed}.{' ' if more else ''}{more}")


class Unreachable(SdelensError, ConnectionError):
    """The hub cannot be reached, or refuses."""

    exit_code = 4


class OutOfMemory(SdelensError, MemoryError):
    """No room is left, in memory or on disk."""

    exit_code = 5


class BrokenPlugin(SdelensError, ImportError):
    """A plugin that was asked for does not load, or fails."""

    exit_code = 6


class BadNumbers(SdelensError, ArithmeticError):
    """NaN, infinity or divergence."""

    exit_code = 7


def ran_out(error: Exception) -> bool:
    """Whether an error of Python's, of torch's or of a device's says that memory ran out."""
    # torch.OutOfMemoryError by name: this module imports no torch
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "allocate memory" in str(error)


def disk_is_full(error: Exception) -> bool:
    """Whether the system says that no room is left on the disk."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def blamed(plugin: str) -> Iterator[None]:
    """What a plugin raises is a `BrokenPlugin` that keeps the cause.

    What is meant for the user goes on as it is, and so do no memory, a full disk, an interrupt.
    """
    try:
        yield
    except SdelensError:
        raise
    except Exception as error:
        if ran_out(error) or disk_is_full(error):
            raise
        raise BrokenPlugin(f"{plugin} failed: {type(error).__name__}: {error}") from error
