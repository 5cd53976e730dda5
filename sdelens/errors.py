"""Errors with their exit codes.

::

    SdelensError
    ├── UsageError        2  invalid input: layer out of range, contradictory options
    ├── UnknownName       3  no such model, source, probe, noise, analyzer or reporter
    ├── Unreachable       4  the hub cannot be reached, or the model is gated
    ├── OutOfMemory       5  not enough memory for a batch of one, disk space, or open files
    ├── BrokenPlugin      6  a requested plugin does not load, or fails
    └── BadNumbers        7  NaN, infinity or divergence

Every message states what was expected, what was received and what to do.
"""

import errno
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, ClassVar


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
        listed = ", ".join(names) or "none"
        known_names = f"Known: {listed}.{' ' if more else ''}{more}"
        return cls(f"No {kind} named {shortened(name)}.{nearest(name, names)} {known_names}")


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


def traceback_of(error: BaseException, *, chain: bool = True) -> str:
    """The traceback of an exception, or its words if it is of a kind that cannot be formatted."""
    try:
        return "".join(traceback.format_exception(error, chain=chain))
    except Exception:
        return f"{words_of(error)}\n"


def ran_out(error: BaseException) -> bool:
    """Whether an error of Python, torch or a device means that memory ran out."""
    # torch.OutOfMemoryError by name, because this module does not import torch
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    said = message_of(error)
    return named or _system(error, errno.ENOMEM) or any(sign in said for sign in NO_MEMORY)


NO_MEMORY = (
    *("allocate memory", "not enough memory", "bad_alloc"),
    *("failed to map segment", "can't start new thread", "ThreadPoolBuildError"),
)
"""What torch, the loader of libraries and others say when memory runs out."""


def disk_is_full(error: BaseException) -> bool:
    """Whether the disk is full."""
    return _system(error, errno.ENOSPC, errno.EDQUOT)


def disk_fails(error: BaseException) -> bool:
    """Whether the disk has a fault, or can only be read."""
    return _system(error, errno.EIO, errno.EROFS)


def files_ran_out(error: BaseException) -> bool:
    """Whether too many files are open."""
    return _system(error, errno.EMFILE, errno.ENFILE) or (
        "Too many open files" in message_of(error)
    )


def _system(error: BaseException, *numbers: int) -> bool:
    return isinstance(error, OSError) and error.errno in numbers


def scarcity(error: BaseException) -> str | None:
    """What ran out and what to do, if an error or one of its causes means that; else None."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OutOfMemory):
            return str(cause)
        if ran_out(cause):
            return (
                "memory ran out: use fewer layers at once, a shorter --length or --device cpu, or "
                "raise the limit of ulimit -v, if one is set"
            )
        if disk_is_full(cause):
            place = getattr(cause, "filename", None) or "the output"
            return f"no room is left on the disk for {place}: free some"
        if files_ran_out(cause):
            return "too many files are open: raise the limit, as in ulimit -n 1024"
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None


def nearest(name: str, names: Iterable[str]) -> str:
    """A question after an unknown name, with up to three known ones; empty if none is near."""
    near = get_close_matches(name, sorted(names), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def shortened(value: Any) -> str:
    """A value for a message, of at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
