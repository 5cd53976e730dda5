"""Activation patching: next-token laws after states at a site are replaced."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.language.shared_prefix import SharedPrefix, on_last
from sdelens.protocols import Edit, LanguageModel, Site
from sdelens.states.passes import BATCH_TOKENS, smaller, tokens_with_logits


def last_site(model: LanguageModel) -> Site:
    """The output of the last block, before the final norm and the unembedding."""
    return Site("block", model.card.blocks - 1)


@torch.no_grad()
def patched_laws(
    model: LanguageModel,
    site: Site,
    tokens: Int[Tensor, "row time"],
    states: Float[Tensor, "row tail dim"],
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> Iterator[Float[Tensor, "some tail vocabulary"]]:
    """Log probabilities of the next token after each of the last `tail` positions, in batches.

    The states at these positions are replaced at `site`, and the rest of the network runs from
    there. The tokens at these positions have no effect, because later layers see them only through
    the states (except in the few architectures that embed tokens again in later layers).
    """
    done, tail = 0, states.shape[1]
    most = tokens_with_logits(model, batch_tokens)
    while done < len(tokens):
        count = max(1, most // tokens.shape[1])
        rows = slice(done, done + count)
        edit = {site: on_last(_replaced_by(states[rows]), tail)}
        try:
            # with a key-value cache, the model may return the logits of the last position only
            out = model.run(tokens[rows], edit=edit, keep=tail == 1, logits=True)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            most = smaller(error, len(tokens[rows]), tokens.shape[1])
            continue
        yield out.required_logits[:, -tail:].float().log_softmax(-1).cpu()
        done += count


@torch.no_grad()
def laws_of_variants(
    model: LanguageModel,
    site: Site,
    tokens: Int[Tensor, " time"],
    states: Float[Tensor, "variant dim"],
) -> Iterator[Float[Tensor, "some vocabulary"]]:
    """The same for one text whose last state is replaced by each of several variants.

    The beginning of the text is read once.
    """
    prefix = SharedPrefix.of(model, tokens[:-1])
    for few in torch.split(states, tokens_with_logits(model)):
        edit = {site: _replaced_by(few[:, None])}
        out = prefix.run(tokens[-1:].expand(len(few), 1), edit=edit, logits=True)
        yield out.required_logits[:, -1].float().log_softmax(-1).cpu()


def _replaced_by(states: Float[Tensor, "row tail dim"]) -> Edit:
    return lambda value: states.to(value)
