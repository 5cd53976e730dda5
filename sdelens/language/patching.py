"""Activation patching: next-token laws after states at a site are replaced."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.protocols import Edit, LanguageModel, Site
from sdelens.states.passes import BATCH_TOKENS, smaller


def last_site(model: LanguageModel) -> Site:
    """The output of the last block, before the final norm and the unembedding."""
    return Site("block", model.card.blocks - 1)


@torch.no_grad()
def next_token_log_probabilities(
    model: LanguageModel,
    site: Site,
    tokens: Int[Tensor, "row time"],
    states: Float[Tensor, "row tail dim"],
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> Float[Tensor, "row tail vocabulary"]:
    """Log probabilities of the next token after each of the last `tail` positions.

    The states at these positions are replaced at `site`, and the rest of the network runs from
    there. The tokens at these positions have no effect, because later layers see them only through
    the states (except in the few architectures that embed tokens again in later layers).
    """
    parts: list[Tensor] = []
    done, tail = 0, states.shape[1]
    while done < len(tokens):
        count = max(1, batch_tokens // tokens.shape[1])
        rows = slice(done, done + count)
        try:
            logits = _logits(model, site, tokens[rows], states[rows], tail)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            batch_tokens = smaller(error, len(tokens[rows]), tokens.shape[1])
            continue
        parts.append(logits.float().log_softmax(-1).cpu())
        done += count
    return torch.cat(parts)


def _logits(
    model: LanguageModel, site: Site, tokens: Tensor, states: Tensor, tail: int
) -> Float[Tensor, "row tail vocabulary"]:
    # with a key-value cache, the model may return the logits of the last position only
    out = model.run(tokens, edit={site: replace_last(states)}, keep=tail == 1, logits=True)
    return out.required_logits[:, -tail:]


def replace_last(states: Float[Tensor, "row tail dim"]) -> Edit:
    """An edit that replaces the last states."""

    def edit(value: Tensor) -> Tensor:
        return torch.cat([value[:, : -states.shape[1]], states.to(value)], dim=1)

    return edit
