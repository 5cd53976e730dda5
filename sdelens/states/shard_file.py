"""Files of states: opened, read by rows, and verified."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.store import checksum


def shard_file(folder: Path, number: int) -> Path:
    """The file of a shard."""
    return folder / f"shard-{number:05d}.safetensors"


@contextmanager
def open_shard(file: Path) -> Iterator[Any]:
    """A shard for reading; raises `UsageError` if it was removed or changed during use."""
    try:
        with safe_open(file, "pt") as shard:
            yield shard
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"{file} was removed or changed while its states were in use ({error}): run this "
            "again, and they are recorded again"
        ) from error


def read_rows(
    shard: Any, name: str, rows: Int[Tensor, " row"], columns: slice = slice(None)
) -> Tensor:
    """The rows (in ascending order) and columns of a tensor in a shard.

    Each run of consecutive rows is read at once. Nothing is mapped into memory.
    """
    stored = shard.get_slice(name)
    runs = rows.tensor_split((rows.diff() != 1).nonzero()[:, 0] + 1)
    parts = [stored[int(run[0]) : int(run[-1]) + 1, columns] for run in runs if len(run)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def require_unchanged(file: Path, written: str) -> None:
    """Raise `UsageError` unless the bytes of a shard are those that were written."""
    try:
        if not file.is_file():
            raise UsageError(f"{file} is missing")
        found = checksum(file)
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror or error})") from error
    if found != written:
        raise UsageError(f"{file} is not what was written (its checksum differs)")
