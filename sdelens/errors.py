"""Errors with their exit codes.

::

    SdelensError
    ├── UsageError        2  invalid input: layer out of range, contradictory options
    ├── UnknownName       3  no such model, source, probe, noise, analyzer or reporter
    ├── Unreachable       4  the hub cannot be reached, or the model is gated
    ├── OutOfMemory       5  not enough memory for a batch of one, or the disk is full
    ├── BrokenPlugin      6  a requested plugin does not load, or fails
    └── BadNumbers        7  NaN, infinity or divergence

Every message states what was expected, what was received and what to do.
"""

import errno
from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class SdelensError(Exception):
    """Base class of errors addressed to the user."""

    exit_code: ClassVar[int] = 1


class UsageError(SdelensError, ValueError):
    """Invalid input or settings."""

    exit_code = 2


class UnknownName(SdelensError, LookupError):
    """An unknown name."""

    exit_code = 3

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str], more: str = "") -> "UnknownName":
        """An error that suggests the nearest known names."""
        names = sorted(known)
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        listed = ", ".join(names) or "none"
        return cls(f"No {kind} named {name!r}.{hint} Known: {listed}.{' ' if more else ''}{more}")


class Unreachable(SdelensError, ConnectionError):
    """The hub cannot be reached, or refuses access."""

    exit_code = 4


class OutOfMemory(SdelensError, MemoryError):
    """Not enough memory or disk space."""

    exit_code = 5


class BrokenPlugin(SdelensError, ImportError):
    """A requested plugin does not load, or fails."""

    exit_code = 6


class BadNumbers(SdelensError, ArithmeticError):
    """NaN, infinity or divergence."""

    exit_code = 7


def message_of(error: BaseException) -> str:
    """The message of an exception, which may raise another one."""
    try:
        return str(error)
    except BaseException:
        return "its message cannot be shown"


def words_of(error: BaseException) -> str:
    """Type and message of an exception."""
    said = message_of(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def ran_out(error: Exception) -> bool:
    """Whether an error of Python, torch or a device means that memory ran out."""
    # torch.OutOfMemoryError by name, because this module does not import torch
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "allocate memory" in message_of(error)


def disk_is_full(error: Exception) -> bool:
    """Whether the disk is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
