"""Atomic writes of safetensors and JSON files. Never pickle."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor
from xxhash import xxh3_128

from sdelens.errors import OutOfMemory, UsageError
from sdelens.json_text import parsed
from sdelens.regular_file import descriptor_of, text_of

PART = 2**22
"""Bytes of a file that are read at once for its checksum."""


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Convert system errors while writing to errors addressed to the user."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OutOfMemory(
                f"no room is left on the disk for {place}: free some, choose another place with "
                "--out or SDELENS_CACHE, or take fewer documents or layers"
            ) from error
        raise UsageError(
            f"{place} cannot be written ({error.strerror or error}): choose another place with "
            "--out or SDELENS_CACHE"
        ) from error


def replaced(file: Path, write: Callable[[Path], object]) -> None:
    """Write to a temporary name, sync and rename, so that a file is complete or absent."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            if not temporary.is_char_device():  # a test writes to the full device
                temporary.unlink(missing_ok=True)  # of a killed process, or a link to another file
            temporary.touch()  # with the user's own mode, which safetensors would narrow
            mode = temporary.stat().st_mode
            write(temporary)
            temporary.chmod(mode)
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
            temporary.replace(file)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """An empty folder, to be filled in the block, that then takes the place of another.

    The other one stays if the block fails. A process that is killed leaves the old folder, the new
    one, or none, and a folder with a temporary name.
    """
    new, old = (folder.with_name(f".{folder.name}.{os.getpid()}{x}.tmp") for x in ("", ".old"))
    try:
        for left in (new, old):  # by a killed process
            shutil.rmtree(left, ignore_errors=True)
        with writing(folder):
            new.mkdir(parents=True)
        yield new
        with writing(folder):
            exchanged(folder, new, old)
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def exchanged(place: Path, new: Path, old: Path) -> None:
    """Rename a file or folder to `old`, if it exists, and `new` to its place; both or neither."""
    if place.exists():
        place.rename(old)
    try:
        new.rename(place)
    except OSError:
        if old.exists():
            old.rename(place)
        raise


def write_text(file: Path, text: str) -> None:
    """Write a text file atomically."""
    replaced(file, lambda place: place.write_text(text, encoding="utf-8"))


def write_json(file: Path, value: Any) -> None:
    """Write indented JSON with sorted keys, so that equal values give equal bytes."""
    write_text(file, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(file: Path) -> Any:
    """Read a JSON file; raises an error naming it if it is missing or damaged."""
    try:
        return parsed(read_text(file))
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{file} is not JSON ({error}): was it edited or cut off?") from error


def read_text(file: Path) -> str:
    """Read a text file; raises an error naming it if it is missing or not UTF-8."""
    require_file(file)
    try:
        return text_of(file)
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not text in UTF-8 ({error}): was it damaged?") from error


def require_file(file: Path) -> None:
    """Raise `UsageError` unless this is a file; reading a pipe or a device might never end."""
    if not file.exists():
        raise UsageError(f"{file} does not exist: is {file.parent} a folder of sdelens?")
    if not file.is_file():
        raise UsageError(f"{file} is not a file: expected one written by sdelens")


def file_digest(file: Path) -> str:
    """sha256 of the bytes of a file."""
    require_file(file)
    with os.fdopen(descriptor_of(file), "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_tensors(
    file: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write tensors to a safetensors file atomically."""
    ready = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    replaced(file, lambda place: _save(ready, place, metadata))


def _save(tensors: dict[str, Tensor], place: Path, metadata: dict[str, str] | None) -> None:
    try:
        save_file(tensors, place, metadata)
    except Exception as error:  # safetensors raises its own error, the system's number in its text
        number = re.search(r"os error (\d+)", str(error))
        if number:
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        raise


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read all tensors of a file, by name."""
    require_file(file)
    try:
        return load_file(file)
    except Exception as error:
        raise UsageError(f"{file} is not a whole safetensors file ({error})") from error


def checksum(file: Path) -> str:
    """The xxh3 of a file's bytes, which differs if any of them has changed."""
    # large parts, because a thread waits between them while another holds Python's lock
    hashed, part = xxh3_128(), memoryview(bytearray(PART))
    with os.fdopen(descriptor_of(file), "rb", buffering=0) as handle:
        while size := handle.readinto(part):
            hashed.update(part[:size])
    return hashed.hexdigest()


def cache_folder() -> Path:
    """The folder for cached states: SDELENS_CACHE, or the user's cache folder."""
    if own := os.environ.get("SDELENS_CACHE"):
        return Path(own)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "sdelens"
    try:
        return Path.home() / ".cache" / "sdelens"
    except RuntimeError as error:
        raise UsageError(
            "this user has no home folder for cached states: set SDELENS_CACHE to another"
        ) from error
