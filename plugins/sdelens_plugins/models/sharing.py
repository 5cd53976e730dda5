"""One key-value cache for all prefixes of a text: attention masks for many next tokens."""

from contextlib import suppress
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Int
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from sdelens.errors import UsageError
from sdelens.protocols import Pass
from sdelens_plugins.models.taps import Stop, Taps


def tried(
    model: Any,
    taps: Taps,
    tokens: Int[Tensor, "batch position branch"],
    past: Any,
    after: Int[Tensor, " position"],
) -> Pass:
    """Run many next tokens in one pass, each after its own prefix, with hooks."""
    rows, _, branches = tokens.shape
    with suppress(Stop):
        model(
            input_ids=rearrange(tokens, "row position branch -> row (position branch)"),
            past_key_values=beginning(past, rows, int(after.max())),
            use_cache=True,
            position_ids=repeat(
                after, "position -> row (position branch)", row=rows, branch=branches
            ),
            attention_mask=seen(after, branches).expand(rows, -1, -1, -1),
        )
    apart = "row (position branch) dim -> row position branch dim"
    return Pass({s: rearrange(value, apart, branch=branches) for s, value in taps.reads.items()})


def beginning(past: Any, rows: int, length: int) -> DynamicCache:
    """The first tokens of the first texts of a cache, as views of its tensors."""
    shared = DynamicCache()
    for layer in past.layers:
        # a sliding window has dropped the tokens of earlier prefixes
        if type(layer) is not DynamicLayer or layer.keys is None or layer.values is None:
            raise UsageError(
                f"prefixes cannot share a {type(layer).__name__}: only a cache of all keys and "
                "values holds every prefix"
            )
        own = DynamicLayer()  # type: ignore[no-untyped-call]
        own.lazy_initialization(layer.keys, layer.values)
        own.keys = layer.keys[:rows, :, :length]
        own.values = layer.values[:rows, :, :length]
        shared.layers.append(own)
    return shared


def seen(after: Int[Tensor, " position"], branches: int) -> Bool[Tensor, "1 1 query key"]:
    """The attention mask: each next token sees its prefix and itself."""
    longest = int(after.max())
    ends = repeat(after, "position -> (position branch)", branch=branches)
    prefix = torch.arange(longest, device=after.device) < ends[:, None]
    own = torch.eye(len(ends), dtype=torch.bool, device=after.device)
    return torch.cat([prefix, own], dim=1)[None, None]
