"""Model cards: name, sizes and a hash of the weights."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from sdelens.errors import UsageError
from sdelens.origin import ModelCard
from sdelens_plugins.models.stored_weights import stored_weights
from sdelens_plugins.models.words import Words

TOLD = {"transformers_version", "dtype", "torch_dtype", "attn_implementation"}
"""Config entries that do not affect the computation."""
CONTEXTS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "max_seq_length",
    "n_ctx",
    "seq_length",
)
"""Config entries with a maximum length of a text; the tokenizer's is the last resort."""
SIDE = 1024
"""Columns of the table of weights whose rows and columns are summed."""


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
        context=context_of(config) or words.longest,
        vocabulary=int(config.vocab_size),
        bos=words.first,
        eos=words.special("eos"),
        turn_ends=words.turn_ends(getattr(model, "generation_config", None)),
        cache_width=cache_width_of(config),
    )


def rounded_card(card: ModelCard, kind: str) -> ModelCard:
    """The card of a model whose weights are rounded, with a fingerprint of its own."""
    stored = f"{card.quantisation} rounded to {kind}" if card.quantisation else kind
    known = card.fingerprint and sha256(f"{card.fingerprint} {kind}".encode()).hexdigest()
    return replace(card, fingerprint=known, quantisation=stored)


def contexts_in(config: Any) -> dict[str, int]:
    """The maximum lengths of a text in a config, by name."""
    found = {name: getattr(config, name, None) for name in CONTEXTS}
    return {k: n for k, n in found.items() if isinstance(n, int) and n > 0}


def context_of(config: Any) -> int | None:
    """The smallest maximum length of a text in a config; None if it has none."""
    return min(contexts_in(config).values(), default=None)


def cache_width_of(config: Any) -> int:
    """Coordinates of the keys of one token in one block; 0 for architectures without heads."""
    heads = getattr(config, "num_attention_heads", None)
    if not isinstance(heads, int) or heads < 1:
        return 0
    shared = getattr(config, "num_key_value_heads", None) or heads
    each = getattr(config, "head_dim", None) or int(config.hidden_size) // heads
    return int(shared) * int(each)


def architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config entries that affect the computation."""
    return {k: v for k, v in config.items() if not k.startswith("_") and k not in TOLD}


def fingerprint_of(model: nn.Module, config: Mapping[str, Any]) -> str:
    """sha256 of the config and the names, shapes, dtypes and bytes of the stored weights.

    It takes seconds per GiB and is needed at each use of a model that the user may have changed.
    It is therefore recomputed only if sums over all bits have changed.
    """
    told = json.dumps(config, sort_keys=True, default=str)
    quick = told, tuple(sums_of(model))
    if _KNOWN.get(model, ("", ""))[0] != quick:
        _KNOWN[model] = quick, _hashed(model, told)
    return _KNOWN[model][1]


_KNOWN: WeakKeyDictionary[nn.Module, tuple[Any, str]] = WeakKeyDictionary()


def sums_of(model: nn.Module) -> Iterator[tuple[str, str, str]]:
    """Name, shape and dtype of each weight, with a hash of sums over its bits."""
    for name, weight in sorted(model.named_parameters()):
        held = in_memory(model, name, weight).detach()
        yield name, f"{held.shape} {held.dtype}", quick_hash(bits_of(held))


def quick_hash(bits: torch.Tensor) -> str:
    """sha256 of the row sums and column sums of a table of all values.

    A single sum would not detect two exchanged values; an exchange changes a row or a column.
    """
    whole = len(bits) // SIDE * SIDE
    table = bits[:whole].view(-1, SIDE)
    rows, columns = (table.sum(dim, dtype=torch.int64) for dim in (1, 0))
    sums = torch.cat([rows, columns, bits[whole:].long()])
    return sha256(sums.cpu().numpy().data).hexdigest()


def bits_of(weight: torch.Tensor) -> torch.Tensor:
    """The weight's memory as integers, of eight bytes if possible."""
    flat = weight.contiguous().view(-1)
    size, first = flat.element_size(), flat.storage_offset()
    whole = all(count * size % 8 == 0 for count in (flat.numel(), first))
    return flat.view(torch.int64 if whole else torch.uint8)


def _hashed(model: nn.Module, told: str) -> str:
    total = sha256(told.encode())
    for name, weight in sorted(stored_weights(model).items()):
        held = in_memory(model, name, weight).detach()
        total.update(f"{name} {tuple(held.shape)}".encode())
        total.update(f"{held.dtype}".encode())
        flat = held.cpu().contiguous().view(-1)
        total.update(flat.view(torch.uint8).numpy().data)
    return total.hexdigest()


def in_memory(model: nn.Module, name: str, weight: torch.Tensor) -> torch.Tensor:
    """The values of a weight, fetched from accelerate if it is offloaded."""
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
        f"the weight {name} has no values (it is on torch's meta device): load the model with "
        "its weights before attaching it"
    )


def dtype_of(model: Any) -> str:
    """The dtype of the computation, which may differ from that of quantised weights."""
    kind = getattr(model, "dtype", None) or next(model.parameters()).dtype
    return str(kind).removeprefix("torch.")


def name_of(model: Any) -> str:
    """The name of the model on the hub, or of the folder it was loaded from."""
    name = str(getattr(model.config, "_name_or_path", "") or type(model).__name__)
    return Path(name).name if Path(name).is_dir() else name


def revision_of(model: Any) -> str:
    """The loaded commit, if the library records it."""
    return str(getattr(model.config, "_commit_hash", None) or "in memory")
