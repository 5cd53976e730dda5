"""What a language model makes of states put in the place of its own: the words that follow."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.protocols import Edit, LanguageModel, Site
from sdelens.states.passes import BATCH_TOKENS, smaller


def last_site(model: LanguageModel) -> Site:
    """The last block's output: between it and the words are the final norm and the unembedding."""
    return Site("block", model.card.blocks - 1)


@torch.no_grad()
def following(
    model: LanguageModel,
    site: Site,
    tokens: Int[Tensor, "row time"],
    states: Float[Tensor, "row tail dim"],
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> Float[Tensor, "row tail vocabulary"]:
    """Log probabilities of the next token after each of the last `tail` positions.

    The states there are replaced at `site`, and the rest of the network runs on from it. What the
    tokens of these positions are makes no difference, since beyond the site the network sees them
    through the states alone (unless it looks the tokens up once more further on, as few do).
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
    # with a cache kept, the model may leave out all logits but the last position's
    out = model.run(tokens, edit={site: replaced(states)}, keep=tail == 1, logits=True)
    return out.required_logits[:, -tail:]


def replaced(states: Float[Tensor, "row tail dim"]) -> Edit:
    """An edit that puts states in the place of the last ones."""

    def edit(value: Tensor) -> Tensor:
        return torch.cat([value[:, : -states.shape[1]], states.to(value)], dim=1)

    return edit
