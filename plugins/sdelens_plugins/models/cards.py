"""What a run must know of a model: who it is, its sizes, and a hash of its weights."""

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from sdelens.errors import UsageError
from sdelens.origin import ModelCard
from sdelens_plugins.models.words import Words

TOLD = {"transformers_version", "dtype", "torch_dtype", "attn_implementation"}
"""What a config says that is not the computation: what wrote it, and how it is carried out."""
SIDE = 1024
"""Columns of the table in which numbers are added up."""


def card_of(
    model: Any, words: Words, name: str, revision: str, *, weights: str = "raw"
) -> ModelCard:
    """The card of a model with a Hugging Face config."""
    config = model.config.get_text_config()
    return ModelCard(
        name=name,
        revision=revision,
        fingerprint=fingerprint_of(model, architecture(model.config.to_dict())),
        weights=weights,
        dtype=dtype_of(model),
        blocks=int(config.num_hidden_layers),
        width=int(config.hidden_size),
        context=int(getattr(config, "max_position_embeddings", None) or words.longest),
        vocabulary=int(config.vocab_size),
        bos=words.special("bos"),
        eos=words.special("eos"),
    )


def architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config says of the computation; not where it lies or what wrote it."""
    return {k: v for k, v in config.items() if not k.startswith("_") and k not in TOLD}


def fingerprint_of(model: nn.Module, config: Mapping[str, Any]) -> str:
    """sha256 over the config and the names, shapes, types and bytes of all weights.

    It takes seconds a GiB, and is asked for at each use of a model that its user may have changed:
    where sums over all bits are what they were, it is that of the last time.
    """
    told = json.dumps(config, sort_keys=True, default=str)
    quick = told, tuple(sums_of(model))
    if _KNOWN.get(model, ("", ""))[0] != quick:
        _KNOWN[model] = quick, _hashed(model, told)
    return _KNOWN[model][1]


_KNOWN: WeakKeyDictionary[nn.Module, tuple[Any, str]] = WeakKeyDictionary()


def sums_of(model: nn.Module) -> Iterator[tuple[str, str, str]]:
    """Of each weight its name, shape and type, and a hash of sums over its bits."""
    for name, weight in sorted(model.named_parameters()):
        held = in_memory(model, name, weight).detach()
        yield name, f"{held.shape} {held.dtype}", quick_hash(bits_of(held))


def quick_hash(bits: torch.Tensor) -> str:
    """sha256 over the sums of the rows and of the columns of a table of all numbers.

    One sum would be the same after two words have changed places. Here a number that moves leaves
    its row or its column.
    """
    whole = len(bits) // SIDE * SIDE
    table = bits[:whole].view(-1, SIDE)
    rows, columns = (table.sum(dim, dtype=torch.int64) for dim in (1, 0))
    sums = torch.cat([rows, columns, bits[whole:].long()])
    return sha256(sums.cpu().numpy().data).hexdigest()


def bits_of(weight: torch.Tensor) -> torch.Tensor:
    """The weight's memory as whole numbers, of eight bytes where they fit."""
    flat = weight.contiguous().view(-1)
    size, first = flat.element_size(), flat.storage_offset()
    whole = all(count * size % 8 == 0 for count in (flat.numel(), first))
    return flat.view(torch.int64 if whole else torch.uint8)


def _hashed(model: nn.Module, told: str) -> str:
    total = sha256(told.encode())
    for name, weight in sorted(model.named_parameters()):
        held = in_memory(model, name, weight).detach()
        total.update(f"{name.replace('_original_component.', '')} {tuple(held.shape)}".encode())
        total.update(f"{held.dtype}".encode())
        flat = held.cpu().contiguous().view(-1)
        total.update(flat.view(torch.uint8).numpy().data)
    return total.hexdigest()


def in_memory(model: nn.Module, name: str, weight: torch.Tensor) -> torch.Tensor:
    """The weight's numbers, from where accelerate put them if they are not with the model."""
    if not weight.is_meta:
        return weight
    owner, _, own = name.rpartition(".")
    hook = getattr(model.get_submodule(owner), "_hf_hook", None)
    for one in getattr(hook, "hooks", (hook,)):
        places = getattr(one, "weights_map", None)
        if places is not None:
            found: torch.Tensor = places[own]
            return found
    raise UsageError(
        f"the weight {name} has no numbers (it is on torch's meta device): load the model with "
        "its weights before it is attached"
    )


def dtype_of(model: Any) -> str:
    """The type in which states are computed, also where weights are quantised to another."""
    kind = getattr(model, "dtype", None) or next(model.parameters()).dtype
    return str(kind).removeprefix("torch.")


def name_of(model: Any) -> str:
    """The model's name on the hub, or that of the folder that it was loaded from."""
    name = str(getattr(model.config, "_name_or_path", "") or type(model).__name__)
    return Path(name).name if Path(name).is_dir() else name


def revision_of(model: Any) -> str:
    """The commit that the library loaded, where it knows one."""
    return str(getattr(model.config, "_commit_hash", None) or "in memory")
