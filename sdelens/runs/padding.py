"""Padding in token ids given by the user: removed by its mask, or refused."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.model_protocols import Listener
from sdelens.protocols import LanguageModel


def without_padding(ids: Any, attention_mask: Any) -> list[Tensor]:
    """The tokens of each row for which the mask is true.

    Both are ``[text, time]``, as a tokenizer returns them; padding may be on either side.
    """
    try:
        tokens, mask = torch.as_tensor(ids), torch.as_tensor(attention_mask)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"attention_mask= needs token ids [text, time] as texts ({error})"
        ) from error
    if tokens.ndim != 2 or tokens.shape != mask.shape:
        raise UsageError(
            f"attention_mask must have the shape [text, time] of the token ids, got "
            f"{list(mask.shape)} for ids {list(tokens.shape)}"
        )
    kept = mask.bool()
    inner = kept.int().diff(dim=1).ne(0).sum(1) + kept[:, 0] + kept[:, -1]
    if bool((inner > 2).any()):
        row = int((inner > 2).nonzero()[0])
        raise UsageError(
            f"attention_mask of text {row} has padding inside the text: only padding before and "
            "after a text can be removed"
        )
    return [row[real] for row, real in zip(tokens, kept, strict=True)]


def require_no_padding(model: LanguageModel, ids: Int[Tensor, " token"], name: str) -> None:
    """Raise `UsageError` for ids that begin or end with padding, which would be read as text.

    Where the padding token is also BOS or EOS, one of them is no padding.
    """
    pad = model.pad if isinstance(model, Listener) else None
    fill = model.card.eos if pad is None else pad
    if fill is None or len(ids) < 2 or bool((ids == fill).all()):
        return
    own = int(fill in (model.card.bos, model.card.eos))
    for side, ordered in (("begins", ids), ("ends", ids.flip(0))):
        count = int((ordered != fill).long().argmax())
        if count > own:
            raise UsageError(
                f"{name} {side} with {count} of the padding id {fill}, which would be read as "
                "text: give capture the attention_mask of the tokenizer, or ids without padding"
            )
