r"""What each next token counts for at several temperatures: tried once, weighed for each.

The state after a token does not depend on how the token is drawn, only what it counts for does.
Tokens are chosen once, by the widest law w. Under another law p an enumerated token counts for
:math:`p_v`, and of the rest of p the drawn tokens stand for shares in proportion to
:math:`p_v/w_v`: importance sampling, normalised to the rest's probability, which is known. Where
p is cut off and none of the drawn tokens is left in it, the enumerated ones alone count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.branching.token_choice import TokenChoice


@dataclass(frozen=True, eq=False)
class AtTemperature:
    """Next tokens after some prefixes, first those that were drawn."""

    tokens: Int[Tensor, "prefix branch"]
    weights: Float[Tensor, "law prefix branch"]
    """They sum to one."""
    exponential: Float[Tensor, "law prefix"]
    """Effective branches: exp of the entropy."""
    collision: Float[Tensor, "law prefix"]
    """Effective branches: 1 over the sum of squared probabilities."""
    listed: Float[Tensor, "law prefix"]
    """The probability of the enumerated tokens."""

    def permuted(self, random: torch.Generator) -> Float[Tensor, "law prefix branch"]:
        """The same weights on other tokens of the prefix: one permutation for all laws.

        Tokens that no law has stay without weight.
        """
        keys = torch.rand(self.tokens.shape, generator=random, dtype=torch.float64)
        there = (self.weights > 0).any(0)
        drawn = keys.masked_fill(~there, torch.inf).argsort(-1)
        places = (~there).byte().argsort(dim=-1, stable=True)
        moved = torch.zeros_like(self.weights)
        wide = [index.expand_as(self.weights) for index in (places, drawn)]
        return moved.scatter(-1, wide[0], self.weights.gather(-1, wide[1]))


def at_temperature(
    laws: Float[Tensor, "law prefix vocabulary"],
    widest: int,
    choice: TokenChoice,
    uniform: Float[Tensor, "prefix draw"],
) -> AtTemperature:
    """Tokens by the law that is `widest`: no other one may have a token that it has not."""
    laws = laws.double() / laws.double().sum(-1, keepdim=True)
    chosen = choice.of(laws[widest], uniform)
    found = laws.gather(-1, chosen.tokens.expand(len(laws), -1, -1))
    drawn, known = found[..., : chosen.drawn], found[..., chosen.drawn :]
    known = known * (chosen.weights[..., chosen.drawn :] > 0)  # what fills a row up is no more
    rest = (1 - known.sum(-1, keepdim=True)).clamp(min=0)
    ratio = drawn / drawn[widest].clamp(min=torch.finfo(drawn.dtype).tiny)
    share = rest * ratio / ratio.sum(-1, keepdim=True).clamp(min=torch.finfo(drawn.dtype).tiny)
    weights = torch.cat([share, known], -1)
    return AtTemperature(
        chosen.tokens,
        # less than one where no drawn token lies in a narrower nucleus: those that are known count
        weights / weights.sum(-1, keepdim=True),
        torch.special.entr(laws).sum(-1).exp(),
        1 / laws.square().sum(-1),
        known.sum(-1),
    )


def widest(temperatures: Sequence[float]) -> int:
    """The law of the highest temperature, whose nucleus holds those of all others."""
    return max(range(len(temperatures)), key=temperatures.__getitem__)
