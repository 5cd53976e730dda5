"""Texts of unequal length in one batch, padded at the left."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from sdelens.errors import UsageError, ran_out
from sdelens.model_protocols import PaddedModel
from sdelens.paths.trajectories import NO_TOKEN
from sdelens.protocols import LanguageModel
from sdelens.states.passes import agree


def left_padded(rows: Sequence[Sequence[int]]) -> Int[Tensor, "row time"]:
    """Token ids with one row per text, padded with -1 so that all texts end together."""
    longest = max(map(len, rows))
    return torch.tensor([[NO_TOKEN] * (longest - len(row)) + list(row) for row in rows])


@torch.no_grad()
def pads(model: LanguageModel, rows: Sequence[Sequence[int]]) -> bool:
    """Whether padding leaves the next-token law of the shortest text as it is.

    Compared are the logits of that text alone with those of the text in a batch with the longest,
    after the text and one token later.
    """
    if not isinstance(model, PaddedModel):
        return False
    short, long = min(rows, key=len), max(rows, key=len)
    tokens = left_padded([short, long])
    padding = torch.tensor([len(long) - len(short), 0])
    try:
        first = model.run_padded(tokens.clamp(min=0), padding=padding)
        then = model.run_padded(tokens[:, -1:], padding=padding, past=first.past)
    except (TypeError, ValueError, NotImplementedError, RuntimeError, UsageError) as error:
        if ran_out(error):
            raise
        return False
    own = torch.tensor([short])
    alone = model.run(own, keep=True, logits=True)
    after = model.run(own[:, -1:], past=alone.past, keep=True, logits=True)
    pairs = ((first, alone), (then, after))
    return all(
        agree(one.required_logits[:1, -1], other.required_logits[:, -1], model.card.dtype)
        for one, other in pairs
    )
