"""What a Hugging Face model says of its own pass: calls of its blocks, and its hidden states."""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from inspect import signature
from typing import Any

from torch import Tensor, nn

from sdelens.errors import UsageError
from sdelens.protocols import Site
from sdelens_plugins.models.taps import evaluating

STATE_SPACE = "cache_params"
"""A parameter that only state-space models have; they leave out the embedding's hidden state."""


def calls_in(model: Any, tokens: Tensor, modules: Mapping[Site, nn.Module]) -> dict[Site, int]:
    """How often each block is called in a whole pass."""
    counts: Counter[Site] = Counter()
    blocks = {site: module for site, module in modules.items() if site.kind == "block"}

    def count(site: Site, *_: Any) -> None:
        counts[site] += 1

    handles = [block.register_forward_hook(partial(count, site)) for site, block in blocks.items()]
    try:
        with evaluating(model):
            model(input_ids=tokens)
    except UsageError:  # without an output layer, after all blocks
        pass
    finally:
        for handle in handles:
            handle.remove()
    return {site: counts[site] for site in blocks}


def hidden_states(model: Any, tokens: Tensor) -> Sequence[Tensor] | None:
    """The library's own hidden states, before the first block and after each; None if unknown.

    They are computed by a copy that shares the weights, because transformers would add hooks to
    the user's model that stay there.
    """
    if STATE_SPACE in signature(model.forward).parameters:
        return None
    weights = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    try:
        own = copy.deepcopy(model, weights)
        with evaluating(own):
            out = own(input_ids=tokens, output_hidden_states=True)
    except Exception:  # a model that cannot be copied, or has no output layer
        return None
    found: Sequence[Tensor] | None = getattr(out, "hidden_states", None)
    return found
