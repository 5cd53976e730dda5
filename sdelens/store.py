"""Atomic writes of safetensors and JSON files. Never pickle."""

import errno
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from sdelens.errors import OutOfMemory, UsageError


def replaced(file: Path, write: Callable[[Path], object]) -> None:
    """Write to a temporary name, sync and rename, so that a file is complete or absent."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()  # with the user's own mode, which safetensors would narrow
        mode = temporary.stat().st_mode
        write(temporary)
        temporary.chmod(mode)
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OutOfMemory(
                f"no room is left on the disk for {file}: free some, choose another place with "
                "--out or SDELENS_CACHE, or take fewer documents or layers"
            ) from error
        raise UsageError(
            f"{file} cannot be written ({error.strerror or error}): choose another place with "
            "--out or SDELENS_CACHE"
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
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
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"{file} does not exist: is {file.parent} a folder of sdelens?"
        ) from error
    except ValueError as error:
        raise UsageError(f"{file} is not JSON ({error}): was it edited or cut off?") from error


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
    try:
        return load_file(file)
    except FileNotFoundError as error:
        raise UsageError(
            f"{file} does not exist: is {file.parent} a folder of sdelens?"
        ) from error
    except Exception as error:
        raise UsageError(f"{file} is not a whole safetensors file ({error})") from error


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
