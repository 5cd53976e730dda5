"""Reads rows of a tensor in a safetensors file, and no others."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor


def read_rows(
    file: Any, name: str, rows: Int[Tensor, " row"], columns: slice = slice(None)
) -> Tensor:
    """The rows (in ascending order) and columns of a tensor in a file opened by `safe_open`.

    Each run of consecutive rows is read at once. Nothing is mapped into memory.
    """
    stored = file.get_slice(name)
    runs = rows.tensor_split((rows.diff() != 1).nonzero()[:, 0] + 1)
    parts = [stored[int(run[0]) : int(run[-1]) + 1, columns] for run in runs if len(run)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
