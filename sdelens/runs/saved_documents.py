"""documents.safetensors: the documents of a run, and the side of the split of each."""

from pathlib import Path

import torch
from torch import Tensor

from sdelens.paths.documents import NOTE, Documents
from sdelens.paths.split import Split
from sdelens.schema import damaged
from sdelens.store import read_tensors, write_tensors
from sdelens.tensor_schema import require_shapes

SIDES = ("train", "validation", "test")


def write_documents(file: Path, documents: Documents, split: Split) -> None:
    """Write documents and split to one file."""
    side = torch.zeros(len(documents), dtype=torch.long)
    for number, name in enumerate(SIDES):
        side[list(getattr(split, name))] = number
    write_tensors(file, documents.tensors() | {"side": side})


def read_documents(file: Path) -> tuple[Documents, Split]:
    """The documents and their split; raises `UsageError` for what cannot be documents."""
    tensors = read_tensors(file)
    own = {name: t for name, t in tensors.items() if not name.startswith(NOTE) and name != "side"}
    require_shapes(Documents, own, file)
    for name, tensor in {**own, "side": tensors.get("side", torch.empty(0))}.items():
        if tensor.dtype != torch.long:
            damaged(file, name, "must be int64", str(tensor.dtype).removeprefix("torch."))
    _require_bounds(own, file)
    documents = Documents.restore({n: t for n, t in tensors.items() if n != "side"})
    count, side = len(documents), tensors["side"]
    columns = {"side": side, **{f"{NOTE}{n}": t for n, t in documents.annotations.items()}}
    for name, column in columns.items():
        if column.shape != (count,):
            damaged(file, name, f"must have the shape [{count}]", list(column.shape))
    if not set(side.tolist()) <= set(range(len(SIDES))):
        damaged(file, "side", f"must be 0 to {len(SIDES) - 1}")
    return documents, Split(*(tuple((side == i).nonzero()[:, 0].tolist()) for i in range(3)))


def _require_bounds(own: dict[str, Tensor], file: Path) -> None:
    """Raise `UsageError` unless the offsets divide the tokens into documents."""
    offsets, lengths, tokens = own["offsets"], own["offsets"].diff(), own["tokens"]
    count = len(own["start"])
    if len(offsets) != count + 1 or count == 0:
        damaged(file, "offsets", f"must have the shape [{count + 1}]", list(offsets.shape))
    if int(offsets[0]) != 0 or int(offsets[-1]) != len(tokens) or bool((lengths < 0).any()):
        damaged(file, "offsets", f"must increase from 0 to {len(tokens)}")
    for name in ("tokens", "start", "group"):
        if bool((own[name] < 0).any()):
            damaged(file, name, "must not be negative")
