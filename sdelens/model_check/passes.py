"""Forward passes of the check, and the distance between their states."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.protocols import LanguageModel, Site

LENGTH = 12
"""Tokens of a text of the check, or the context of the model if that is shorter."""
STEP = 0.6180339887498949
"""Share of the vocabulary between two tokens, so that they are spread over it."""
CLOSE = {torch.float32: 5e-5, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Relative difference up to which states are equal: the order of operations changes them."""


def tokens_of(model: LanguageModel, rows: int = 1) -> Int[Tensor, "row time"]:
    """Different texts of token ids, spread over the vocabulary."""
    time = min(LENGTH, model.card.context)
    shares = torch.arange(1, rows * time + 1, dtype=torch.float64) * STEP % 1
    return (shares * max(2, model.card.vocabulary)).long().view(rows, time)


def blocks_of(model: LanguageModel) -> list[Site]:
    """All blocks."""
    return [Site("block", k) for k in range(model.card.blocks)]


def states(
    model: LanguageModel, tokens: Int[Tensor, "row time"], **settings: Any
) -> Float[Tensor, "block row time dim"]:
    """The states of all blocks."""
    return stacked(model.run(tokens, read=blocks_of(model), **settings).reads, blocks_of(model))


def stacked(
    reads: Mapping[Site, Tensor], sites: Sequence[Site]
) -> Float[Tensor, "block row time dim"]:
    """Values at some sites in float32 on the CPU."""
    return torch.stack([reads[site].float().cpu() for site in sites])


def difference(one: Float[Tensor, "*any dim"], other: Float[Tensor, "*any dim"]) -> float:
    """Largest norm of a difference of two states, relative to the norm of the state."""
    if one.numel() == 0:
        return 0.0
    relative = (one - other).norm(dim=-1) / other.norm(dim=-1).clamp(min=1e-12)
    return float(relative.nan_to_num(nan=torch.inf).max())


def limit_of(model: LanguageModel) -> float:
    """The relative difference up to which states count as equal."""
    return CLOSE.get(getattr(torch, model.card.dtype, torch.float32), CLOSE[torch.float32])
