"""Temporary folders, which a later process removes if this one is killed."""

import os
import re
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from sdelens.store import writing

LOCK = ".temporary.lock"
"""Locked by the process that uses the folder."""
NAME = re.compile(r"sdelens-[0-9a-f]{32}")


class Temporary:
    """A temporary folder, removed when nothing refers to it any more.

    The default is a new one in the system's folder, readable by its user only. It is locked until
    it is removed, so that `sweep` can tell whether a killed process left it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        mode = 0o777 if folder else 0o700
        if folder is None:
            sweep()
            folder = Path(tempfile.gettempdir()) / f"sdelens-{uuid4().hex}"
        self.folder = folder
        with writing(folder):
            self._lock = _locked(folder, mode)
        self._finalizer = weakref.finalize(self, _remove, folder, self._lock, os.getpid())

    def remove(self) -> None:
        """Remove the folder now."""
        self._finalizer()

    def move(self, place: Path) -> None:
        """Rename the folder, which is not temporary any more; raises OSError if it cannot be."""
        self.folder.rename(place)
        self._finalizer.detach()
        (place / LOCK).unlink(missing_ok=True)
        self._lock.release()


def _locked(folder: Path, mode: int) -> FileLock:
    """The lock of a new folder."""
    lock = FileLock(folder / LOCK, thread_local=False)
    while True:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another process took the empty folder for a leftover
            lock.acquire()
            return lock


def _remove(folder: Path, lock: FileLock, owner: int) -> None:
    if os.getpid() == owner:  # and not a fork of it
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def remove_unused(folder: Path) -> bool:
    """Remove a temporary folder unless a process uses it; whether it was removed."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except OSError:  # a process uses it, or it belongs to another user
        return False
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
    return not folder.exists()


def sweep(parent: Path | None = None, name: re.Pattern[str] = NAME) -> int:
    """Remove the temporary folders that killed processes left; returns how many.

    The default of `parent` is the system's folder.
    """
    parent = parent or Path(tempfile.gettempdir())
    with suppress(OSError):
        found = [entry.name for entry in os.scandir(parent) if name.fullmatch(entry.name)]
        return sum(remove_unused(parent / each) for each in found)
    return 0
