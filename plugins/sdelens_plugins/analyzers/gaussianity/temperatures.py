r"""Weights of next tokens at several temperatures, from one sample of tokens.

The state after a token does not depend on how the token was sampled; only its weight does. Tokens
are sampled once, from the widest law w. Under another law p an enumerated token has the weight
:math:`p_v`, and sampled tokens share the rest of p in proportion to :math:`p_v/w_v`: importance
sampling, normalised to the probability of the rest, which is known. If p is cut off and contains
none of the sampled tokens, only the enumerated ones count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.branching.token_choice import TokenChoice


@dataclass(frozen=True, eq=False)
class AtTemperature:
    """Next tokens after some prefixes, the sampled ones first, with their weights."""

    tokens: Int[Tensor, "prefix branch"]
    weights: Float[Tensor, "law prefix branch"]
    """The weights sum to one."""
    exponential: Float[Tensor, "law prefix"]
    """Effective branches: the exponential of the entropy."""
    collision: Float[Tensor, "law prefix"]
    """Effective branches: 1 over the sum of squared probabilities."""
    listed: Float[Tensor, "law prefix"]
    """The probability of the enumerated tokens."""

    def permuted(self, random: torch.Generator) -> Float[Tensor, "law prefix branch"]:
        """The same weights on other tokens of the prefix, with one permutation for all laws.

        Tokens that no law contains keep the weight zero.
        """
        keys = torch.rand(self.tokens.shape, generator=random, dtype=torch.float64)
        possible = (self.weights > 0).any(0)
        source = keys.masked_fill(~possible, torch.inf).argsort(-1)
        target = (~possible).byte().argsort(dim=-1, stable=True)
        source, target = (index.expand_as(self.weights) for index in (source, target))
        permuted = torch.zeros_like(self.weights)
        return permuted.scatter(-1, target, self.weights.gather(-1, source))


def at_temperature(
    laws: Float[Tensor, "law prefix vocabulary"],
    widest: int,
    choice: TokenChoice,
    uniform: Float[Tensor, "prefix draw"],
) -> AtTemperature:
    """Samples tokens from the law number `widest`, which must contain the tokens of all others."""
    laws = laws.double() / laws.double().sum(-1, keepdim=True)
    sampled = choice.of(laws[widest], uniform)
    probabilities = laws.gather(-1, sampled.tokens.expand(len(laws), -1, -1))
    drawn, known = probabilities.tensor_split([sampled.drawn], -1)
    known = known * (sampled.weights[..., sampled.drawn :] > 0)  # padding has no weight
    rest = (1 - known.sum(-1, keepdim=True)).clamp(min=0)
    ratio = drawn / drawn[widest].clamp(min=torch.finfo(drawn.dtype).tiny)
    share = rest * ratio / ratio.sum(-1, keepdim=True).clamp(min=torch.finfo(drawn.dtype).tiny)
    weights = torch.cat([share, known], -1)
    return AtTemperature(
        sampled.tokens,
        # the sum is below one if no sampled token lies in a narrower nucleus
        weights / weights.sum(-1, keepdim=True),
        torch.special.entr(laws).sum(-1).exp(),
        1 / laws.square().sum(-1),
        known.sum(-1),
    )


def widest(temperatures: Sequence[float]) -> int:
    """The law of the highest temperature, whose nucleus contains those of all others."""
    return max(range(len(temperatures)), key=temperatures.__getitem__)
