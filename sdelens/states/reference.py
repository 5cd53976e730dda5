r"""A model's states on a fixed text, as a few numbers by which two models can be compared.

The text is a fixed sequence of token ids, so it needs no tokenizer. With the state :math:`x_t` of
a block at token t, :math:`u_t = x_t/|x_t|` and random signs :math:`s_{jt}`, the numbers are
:math:`p_j = T^{-1/2}\sum_t s_{jt}\cdot(u_t, \log|x_t|)`. A relative change of the states by e
changes each number by about e: by the random projection of Johnson and Lindenstrauss, the
difference is normal with the root mean square of the relative changes as its standard deviation.
"""

import math
from collections.abc import Collection

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.containment.contained import contained
from sdelens.protocols import LanguageModel, Site
from sdelens.seeds import drawing, generator

LENGTH = 32
"""Tokens of the text, or the context of the model if that is shorter."""
NUMBERS = 4
"""Numbers by block."""
STEP = (math.sqrt(5) - 1) / 2
"""Share of the vocabulary between two tokens; its multiples are spread evenly."""
CLOSE = 5e-5
"""Largest difference in float32 between the same states from two libraries or devices."""


def reference_tokens(model: LanguageModel) -> Int[Tensor, "1 time"]:
    """The token ids of the text: spread over the vocabulary, and the same for every use."""
    card = model.card
    shares = torch.arange(min(LENGTH, card.context), dtype=torch.float64) * STEP % 1
    return (shares * max(1, card.vocabulary)).long()[None]


def reference_states(model: LanguageModel) -> tuple[tuple[float, ...], ...]:
    """The numbers of each block, with the user's hooks active; empty if they are unknown.

    They are unknown if a hook does not work on this text or gives other states each time.
    """
    try:
        with contained(f"the model {model.card.name}"):
            found = _numbers(model)
            # a hook that counts its calls, or draws from a generator of its own
            steady = not model.hooked() or same_states(found, _numbers(model), model.card.dtype)
    except Exception:  # an error of the user's hook must not end a capture that works
        return ()
    return found if steady else ()


def same_states(
    one: Collection[Collection[float]], other: Collection[Collection[float]], dtype: str
) -> bool:
    """Whether the numbers agree up to what the order of operations changes at this precision."""
    if not one or [*map(len, one)] != [*map(len, other)]:
        return False
    kind = getattr(torch, dtype, torch.float32)
    close = max(CLOSE, 16 * torch.finfo(kind).eps if kind.is_floating_point else CLOSE)
    rows = zip(one, other, strict=True)
    return all(abs(a - b) <= close for row in rows for a, b in zip(*row, strict=True))


@torch.no_grad()
def _numbers(model: LanguageModel) -> tuple[tuple[float, ...], ...]:
    """The numbers of each block."""
    sites = [Site("block", k) for k in range(model.card.blocks)]
    with drawing(model.device, 0):  # a hook that draws gives the same states
        reads = model.run(reference_tokens(model), read=sites).reads
    rows = torch.stack([_projected(reads[site][0].double().cpu()) for site in sites])
    if not rows.isfinite().all():  # the capture itself names the state
        return ()
    return tuple(tuple(float(f"{number:.7g}") for number in row.tolist()) for row in rows)


def _projected(states: Float[Tensor, "time dim"]) -> Float[Tensor, " number"]:
    """The numbers of the states of one block."""
    norm = states.norm(dim=-1, keepdim=True).clamp(min=1e-30)
    known = torch.cat([states / norm, norm.log()], -1)
    random = generator(0, "reference")
    signs = torch.randint(0, 2, (NUMBERS, *known.shape), generator=random) * 2 - 1
    return (signs * known).sum((1, 2)) / math.sqrt(len(known))
