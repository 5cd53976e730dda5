"""Reads regular files only: a pipe or a device might never end. Imports no torch."""

import os
import stat
from pathlib import Path

from sdelens.errors import UsageError

AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""Flags for opening: a pipe without a writer is not waited for."""


def descriptor_of(file: Path, flags: int = os.O_RDONLY) -> int:
    """The descriptor of an opened file; raises `UsageError` unless it is a regular one.

    The check is of what was opened, so that no other file can take its place in between.
    """
    if file.exists() and not file.is_file():  # a socket cannot even be opened
        raise _not_regular(file)
    descriptor = os.open(file, flags | AT_ONCE)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise _not_regular(file)


def bytes_of(file: Path) -> bytes:
    """The content of a regular file."""
    with os.fdopen(descriptor_of(file), "rb") as handle:
        return handle.read()


def text_of(file: Path) -> str:
    """The content of a regular file in UTF-8; raises `UnicodeDecodeError` for other bytes."""
    return bytes_of(file).decode("utf-8")


def _not_regular(file: Path) -> UsageError:
    return UsageError(f"{file} is not a file: a folder, a pipe or a device cannot be read")
