"""Decoding of simulated states into words, and continuations by the model."""

from collections.abc import Iterable
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.language.patching import patched_laws
from sdelens.paths.trajectories import NO_TOKEN, Paths
from sdelens.protocols import LanguageModel, Site
from sdelens.seeds import generator
from sdelens.states.passes import tokens_with_logits


@torch.no_grad()
def continue_texts(
    model: LanguageModel,
    ids: Int[Tensor, "row token"],
    *,
    steps: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> Int[Tensor, "row step"]:
    """Continues texts with the model's most likely words, or with words sampled at a temperature.

    The end-of-text token does not stop a continuation, so all have the same length.
    """
    random = generator(seed, "continued")
    token, past = ids, None
    columns: list[Tensor] = []
    for _ in range(steps):
        law, past = _next(model, token, past)
        token = _pick(law, temperature, random)[:, None]
        columns.append(token)
    return torch.cat(columns, dim=1)


def _next(model: LanguageModel, token: Tensor, past: Any) -> tuple[Tensor, Any]:
    out = model.run(token, past=past, keep=True, logits=True)
    return out.required_logits[:, -1].float().log_softmax(-1).cpu(), out.past


def _pick(
    law: Float[Tensor, "*batch vocabulary"], temperature: float, random: torch.Generator
) -> Int[Tensor, "*batch"]:
    """The most likely word of each law, or a sampled one."""
    if temperature == 0:
        return law.argmax(-1)
    flat = rearrange((law / temperature).softmax(-1), "... word -> (...) word")
    return torch.multinomial(flat, 1, generator=random).reshape(law.shape[:-1])


def decode_states(
    model: LanguageModel,
    site: Site,
    ids: Int[Tensor, "row token"],
    states: Float[Tensor, "row step dim"],
    *,
    temperature: float = 0.0,
    seed: int = 0,
) -> Int[Tensor, "row step"]:
    """The next words according to the rest of the network, for states after a text.

    The first state replaces the last one of the text. The word of each state is the most likely
    next token (or sampled at a temperature). One pass decodes all states: after the site the
    network depends on the new positions only through their states, not through decoded words.
    """
    tokens = torch.nn.functional.pad(ids, (0, states.shape[1] - 1))
    random = generator(seed, "spoken")
    laws = patched_laws(model, site, tokens, states)
    return torch.cat([_pick(law, temperature, random) for law in laws])


@torch.no_grad()
def word_surprisal(
    model: LanguageModel, ids: Int[Tensor, "row token"], words: Int[Tensor, "row step"]
) -> Float[Tensor, "row step"]:
    """Minus the model's log probability of each word of a continuation, in nats."""
    tokens = torch.cat([ids, words], dim=1)
    rows = max(1, tokens_with_logits(model) // tokens.shape[1])
    parts = zip(torch.split(tokens, rows), torch.split(words, rows), strict=True)
    return torch.cat([_surprisal(model, text, end) for text, end in parts])


def _surprisal(model: LanguageModel, tokens: Tensor, words: Tensor) -> Tensor:
    logits = model.run(tokens[:, :-1], logits=True).required_logits
    laws = logits[:, -words.shape[1] :].float().log_softmax(-1).cpu()
    return -laws.gather(-1, words[..., None])[..., 0]


def training_states(
    latent: Paths, *, states: int
) -> tuple[Float[Tensor, "state latent"], Int[Tensor, " state"]]:
    """The first training states that have a token, with the token of each state."""
    x: list[Tensor] = []
    tokens: list[Tensor] = []
    for block in _until(latent, states):
        has_token = block.mask & (block.tokens != NO_TOKEN)
        x.append(block.states[has_token].cpu())
        tokens.append(block.tokens[has_token].cpu())
    return torch.cat(x)[:states], torch.cat(tokens)[:states]


def _until(blocks: Paths, states: int) -> Iterable[Any]:
    count = 0
    for block in blocks:
        yield block
        count += int(block.mask.sum())
        if count >= states:
            return


def nearest_words(
    z: Float[Tensor, "*batch latent"],
    states: Float[Tensor, "state latent"],
    tokens: Int[Tensor, " state"],
) -> Int[Tensor, "*batch"]:
    """The token of the nearest training state, by distance in latent coordinates."""
    flat = rearrange(z, "... latent -> (...) latent")
    nearest = [tokens[torch.cdist(part, states).argmin(-1)] for part in torch.split(flat, 256)]
    return torch.cat(nearest).reshape(z.shape[:-1])
