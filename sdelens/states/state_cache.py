"""The cache of recorded states: its entries, their use by processes, and its size."""

import os
import re
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from sdelens.errors import UsageError
from sdelens.origin import Origin
from sdelens.regular_file import descriptor_of
from sdelens.states.recording import INDEX, Recording, read_index
from sdelens.store import cache_folder, writing
from sdelens.temporary import LOCK, Temporary, remove_unused, sweep

try:
    import fcntl
except ImportError:  # Windows does not rename folders whose files are open
    fcntl = None  # type: ignore[assignment]

KEY = re.compile(r"[0-9a-f]{24}")
TEMPORARY = re.compile(rf"\.{KEY.pattern}-[0-9a-f]{{32}}\.tmp")
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
EARLIER = re.compile(r"sdelens-[a-z0-9_]{8}")
"""Temporary folders of earlier versions, which did not lock them."""
RECORDED = re.compile(r"shard-\d{5}\.safetensors|index\.json|\..+\.tmp")
WEEK = 7 * 24 * 3600
LIMIT = "SDELENS_CACHE_LIMIT"
UNITS = {
    f"{prefix}{unit}": base**power
    for unit, base in (("B", 1000), ("iB", 1024))
    for power, prefix in enumerate(("", "K", "M", "G", "T"))
}


class EntryInUse:
    """Marks an entry as used by this process, until nothing refers to this any more.

    Raises `FileNotFoundError` if the entry does not exist, or is removed meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        file = folder / INDEX
        descriptor = descriptor_of(file, os.O_RDONLY | NO_LINK)
        weakref.finalize(self, os.close, descriptor)
        _flock(descriptor, shared=True)
        if not os.path.samestat(os.fstat(descriptor), file.stat()):
            raise FileNotFoundError(file)


def _flock(descriptor: int, *, shared: bool) -> None:
    """Lock an index for its users, or alone; raises `BlockingIOError` if it has users."""
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        return


@contextmanager
def _unused(folder: Path) -> Iterator[bool]:
    """Whether no process uses an entry, nor can begin to within the block."""
    try:
        descriptor = descriptor_of(folder / INDEX, os.O_RDWR | NO_LINK)
    except (OSError, UsageError):  # incomplete
        yield True
        return
    try:
        _flock(descriptor, shared=False)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Entry:
    """The recorded states of one model along some texts."""

    folder: Path
    bytes: int
    used: float
    """Time of the last use, in seconds since the epoch."""

    @classmethod
    def of(cls, folder: Path) -> "Entry":
        """The entry in a folder."""
        total = sum(file.stat().st_size for file in folder.iterdir())
        return cls(folder, total, folder.stat().st_mtime)

    @property
    def states(self) -> str | None:
        """The model and the sites, in words; None if the index is damaged."""
        try:
            origin = read_index(self.folder)["origin"]
        except UsageError:
            return None
        return f"{origin['model']['name']} {origin['hook']}"

    @property
    def in_use(self) -> bool:
        """Whether a process uses it."""
        with _unused(self.folder) as free:
            return not free


@dataclass(frozen=True)
class StateCache:
    """A folder of recordings by key."""

    folder: Path

    @classmethod
    def of_user(cls) -> "StateCache":
        """The cache of `sdelens fit`: see `cache_folder`."""
        return cls(cache_folder() / "states")

    @property
    def entries(self) -> list[Entry]:
        """All entries, the least recently used first."""
        found = []
        for folder in self.folder.glob("*"):
            if KEY.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
                with suppress(FileNotFoundError):  # removed by another process meanwhile
                    found.append(Entry.of(folder))
        return sorted(found, key=lambda entry: entry.used)

    @property
    def bytes(self) -> int:
        """The size of all entries."""
        return sum(entry.bytes for entry in self.entries)

    def sweep(self) -> int:
        """Remove what killed processes left here and in the temporary folder; returns how many.

        Entries that are symbolic links are not used: the links are removed.
        """
        links = [place for place in self.folder.glob("*") if place.is_symlink()]
        ours = [p for p in links if KEY.fullmatch(p.name) or TEMPORARY.fullmatch(p.name)]
        with suppress(OSError):  # a cache that is only read
            for link in ours:
                link.unlink(missing_ok=True)
        return len(ours) + sweep(self.folder, TEMPORARY) + sweep() + _sweep_earlier()

    def temporary(self, key: str) -> Temporary:
        """A folder for a recording in progress; others may capture the same states."""
        return Temporary(self.folder / f".{key}-{uuid4().hex}.tmp")

    def open(self, key: str, origin: Origin) -> Recording | None:
        """The recording of an origin, verified; None if there is none.

        Raises `UsageError` if it is damaged or of another origin.
        """
        self.sweep()
        folder = self.folder / key
        if folder.is_symlink():
            return None
        try:
            used = EntryInUse(folder)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UsageError(f"{folder} cannot be read ({error.strerror or error})") from error
        found = Recording.load(folder)
        if found is None:
            return None
        if found.origin.identity != origin.identity:
            raise UsageError(f"{folder} has the states of another model or of other texts")
        with suppress(OSError):  # a cache that is only read
            os.utime(folder)
            (folder / LOCK).unlink(missing_ok=True)  # of a process killed after it moved it here
        return replace(found, kept=used)

    def add(self, recording: Recording, key: str) -> Recording | None:
        """The recording moved into the cache; None if there is another, or too little room."""
        if not self.make_room(Entry.of(recording.folder).bytes):
            return None
        place = self.folder / key
        used = EntryInUse(recording.folder)
        with writing(place):
            try:
                recording.kept.move(place)
            except OSError:
                if not place.exists():
                    raise
                return None
        return replace(recording, folder=place, kept=used)

    def remove(self, folder: Path) -> bool:
        """Remove an entry unless a process uses it; whether it was removed."""
        gone = folder.with_name(f".{folder.name}-{uuid4().hex}.tmp")
        with _unused(folder) as free, suppress(FileNotFoundError, NotADirectoryError):
            if free:
                folder.rename(gone)
        return remove_unused(gone)

    def make_room(self, size: int = 0, limit: int | None = None) -> bool:
        """Remove the least recently used entries until `size` more bytes are within the limit.

        The limit is SDELENS_CACHE_LIMIT by default. Returns whether they are; entries in use stay.
        """
        limit = cache_limit() if limit is None else limit
        if limit is None or size > limit:
            return limit is None
        total = size + self.bytes
        for entry in self.entries:
            if total > limit and self.remove(entry.folder):
                total -= entry.bytes
        return total <= limit

    def prune(self, limit: int | None = None) -> int:
        """Make room, after removing leftovers and damaged entries; returns how many of these."""
        damaged = [entry.folder for entry in self.entries if entry.states is None]
        found = sum(map(self.remove, damaged)) + self.sweep()
        self.make_room(limit=limit)
        return found


def _sweep_earlier() -> int:
    """Remove recordings of earlier versions that were not touched for a week; returns how many."""
    place, before = Path(tempfile.gettempdir()), time.time() - WEEK
    with suppress(OSError):
        folders = [Path(each) for each in os.scandir(place) if EARLIER.fullmatch(each.name)]
        return sum(_is_earlier(each, before) and remove_unused(each) for each in folders)
    return 0


def _is_earlier(folder: Path, before: float) -> bool:
    """Whether a folder has states and nothing else, and was last changed before a time."""
    with suppress(OSError):  # of another user
        if not folder.is_symlink() and folder.stat().st_mtime < before:
            names = [file.name for file in folder.iterdir()]
            return bool(names) and all(map(RECORDED.fullmatch, names))
    return False


def cache_limit() -> int | None:
    """The largest size of the cache in bytes: SDELENS_CACHE_LIMIT, or None."""
    given = os.environ.get(LIMIT)
    return parse_size(given, LIMIT) if given else None


def parse_size(text: str, name: str) -> int:
    """Bytes of a size such as 20GB, 500 MiB or 1000000."""
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*([A-Za-z]*)\s*", text)
    units = {unit.lower(): size for unit, size in UNITS.items()} | {"": 1}
    if not found or found[2].lower() not in units:
        raise UsageError(f"{name} must be a size such as 20GB or 500MiB, got {text!r}")
    return int(float(found[1]) * units[found[2].lower()])
