"""One cache for all prefixes of a text: who sees what, where many next tokens are tried."""

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from sdelens.errors import UsageError


def beginning(past: Any, rows: int, length: int) -> DynamicCache:
    """The first tokens of the first texts of a cache, whose tensors are shared, not written to."""
    shared = DynamicCache()
    for layer in past.layers:
        # a window that slides has lost what earlier prefixes saw
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
    """The prefix of each tried token, and itself."""
    longest = int(after.max())
    ends = after.repeat_interleave(branches)
    prefix = torch.arange(longest, device=after.device) < ends[:, None]
    own = torch.eye(len(ends), dtype=torch.bool, device=after.device)
    return torch.cat([prefix, own], dim=1)[None, None]
