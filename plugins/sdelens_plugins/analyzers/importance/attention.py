"""Attention weights by layer and head, and their sums by token."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.protocols import LanguageModel, Site


@torch.no_grad()
def attention(
    model: LanguageModel, tokens: Int[Tensor, "row time"]
) -> Float[Tensor, "layer row head time time"]:
    """The attention weights of all layers, from the second last axis to the last; rows sum to one.

    Raises `UsageError` if the adapter cannot read them.
    """
    sites = [Site("attention", layer) for layer in range(model.card.blocks)]
    try:
        reads = model.run(tokens, read=sites).reads
        weights = torch.stack([reads[site].float().cpu() for site in sites])
    except (LookupError, ValueError, AttributeError, NotImplementedError, RuntimeError) as error:
        raise UsageError(
            f"the attention of {model.card.name} cannot be read through its adapter "
            f"({type(error).__name__})"
        ) from error
    length = tokens.shape[1]
    if weights.ndim != 5 or weights.shape[-2:] != (length, length):
        raise UsageError(
            f"the attention of {model.card.name} must have the shape [row, head, {length}, "
            f"{length}], got {list(weights.shape[1:])}"
        )
    return weights


def received(
    weights: Float[Tensor, "*batch time time"],
) -> Float[Tensor, "*batch time"]:
    """The attention that each token receives, in multiples of an even share.

    It is 1 for every token if each position attends equally to itself and all positions before it.
    """
    length = weights.shape[-1]
    causal = torch.ones(length, length, dtype=weights.dtype).tril()
    even = (causal / causal.sum(-1, keepdim=True)).sum(0)
    share: Tensor = weights.sum(-2) / even
    return share


def to_first(weights: Float[Tensor, "*batch time time"]) -> Float[Tensor, "*batch"]:
    """The mean attention of later positions to the first one, the attention sink."""
    if weights.shape[-1] < 2:
        return torch.ones(weights.shape[:-2])
    share: Tensor = weights[..., 1:, 0].mean(-1)
    return share
