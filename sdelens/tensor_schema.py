"""Checks tensors read from a file: names, types and shapes, and that they are finite."""

from collections.abc import Mapping
from os import PathLike
from typing import Any, get_type_hints

from jaxtyping import AbstractArray, jaxtyped
from torch import Tensor

from sdelens.schema import damaged


def layout_of(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Type and shape of each tensor.

    >>> import torch
    >>> layout_of({"mean": torch.zeros(3, 2)})
    {'mean': 'float32[3, 2]'}
    """
    return {name: _words(tensor) for name, tensor in sorted(tensors.items())}


def require_layout(
    tensors: Mapping[str, Tensor], layout: Mapping[str, str], file: PathLike[str]
) -> None:
    """Raise `UsageError` unless the tensors of a file have these names, types and shapes."""
    found = layout_of(tensors)
    for name in sorted({*found, *layout}):
        if found.get(name) != layout.get(name):
            absent = "no such tensor"
            damaged(file, name, f"must be {layout.get(name, absent)}", found.get(name, absent))


def require_shapes(kind: Any, tensors: Mapping[str, Tensor], file: PathLike[str]) -> None:
    """Raise `UsageError` unless the tensors are the tensor fields of a dataclass.

    Types and shapes are those of its annotations, where a dimension has one size throughout.
    """
    hints = {name: hint for name, hint in get_type_hints(kind).items() if _is_array(hint)}
    for name in sorted(hints.keys() ^ tensors.keys()):
        damaged(file, name, "is missing" if name in hints else "must not be there")
    with jaxtyped("context"):
        for name, hint in hints.items():
            if not isinstance(tensors[name], hint):
                damaged(file, name, f"must be {hint.__name__}", _words(tensors[name]))


def require_finite(tensors: Mapping[str, Tensor], file: PathLike[str]) -> None:
    """Raise `UsageError` if a tensor contains NaN or infinity."""
    for name, tensor in sorted(tensors.items()):
        if not tensor.isfinite().all():
            damaged(file, name, "must be finite, but contains NaN or infinity")


def _is_array(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, AbstractArray)


def _words(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
