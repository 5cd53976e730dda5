"""Attention weights, by layer and head, and what of them each token receives."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.protocols import LanguageModel, Site


@torch.no_grad()
def attention(
    model: LanguageModel, tokens: Int[Tensor, "row time"]
) -> Float[Tensor, "layer row head time time"]:
    """The weights of all layers; the second last axis looks at the last. Rows sum to one.

    Raises `UsageError` where the adapter cannot read them.
    """
    sites = [Site("attention", layer) for layer in range(model.card.blocks)]
    try:
        reads = model.run(tokens, read=sites).reads
        found = torch.stack([reads[site].float().cpu() for site in sites])
    except (LookupError, ValueError, AttributeError, NotImplementedError, RuntimeError) as error:
        raise UsageError(
            f"the attention of {model.card.name} cannot be read through its adapter "
            f"({type(error).__name__})"
        ) from error
    length = tokens.shape[1]
    if found.ndim != 5 or found.shape[-2:] != (length, length):
        raise UsageError(
            f"the attention of {model.card.name} must come as [row, head, {length}, {length}], "
            f"got {list(found.shape[1:])}"
        )
    return found


def received(
    weights: Float[Tensor, "*batch time time"],
) -> Float[Tensor, "*batch time"]:
    """What each token receives from itself and those after it, in multiples of an even share.

    It is 1 where every position looks at all those before it alike, whatever the position.
    """
    length = weights.shape[-1]
    causal = torch.ones(length, length, dtype=weights.dtype).tril()
    even = (causal / causal.sum(-1, keepdim=True)).sum(0)
    share: Tensor = weights.sum(-2) / even
    return share


def to_first(weights: Float[Tensor, "*batch time time"]) -> Float[Tensor, "*batch"]:
    """The mean share that positions after the first give to the first: the attention sink."""
    if weights.shape[-1] < 2:
        return torch.ones(weights.shape[:-2])
    share: Tensor = weights[..., 1:, 0].mean(-1)
    return share
