r"""Which next tokens are tried after a prefix, and what each counts for.

With :math:`p` the law of the next token, an expectation :math:`\sum_v p_v f(v)` is the sum over
some enumerated tokens plus r times the mean over the rest of the law, r their probability. Drawing
R tokens from the rest estimates that mean without bias; a law cut off at its likeliest tokens and
renormalised does not. No enumerated token at all are plain draws; all of them leave no rest.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.states.sampling import inverse_cdf

DRAWS = "branch"
"""Of the uniform numbers by which next tokens are drawn (`uniforms`)."""


@dataclass(frozen=True, eq=False)
class WeightedTokens:
    """Next tokens with weights that sum to one; first those that were drawn."""

    tokens: Int[Tensor, "*batch branch"]
    weights: Float[Tensor, "*batch branch"]
    """Probabilities of enumerated tokens; of R drawn ones 1/R of the rest each."""
    drawn: int

    def __getitem__(self, index: tuple[Tensor | slice, ...]) -> "WeightedTokens":
        return WeightedTokens(self.tokens[index], self.weights[index], self.drawn)


@dataclass(frozen=True)
class TokenChoice:
    """How many next tokens are drawn, and how much of the law is enumerated instead."""

    branches: int = 2
    """Independent draws after each prefix."""
    coverage: float = 0.0
    """Enumerate the likeliest tokens up to this probability; 1 is the whole vocabulary."""
    most: int = 64
    """Of a flat law no more than so many are enumerated, unless all are."""

    def __post_init__(self) -> None:
        if not 0 <= self.coverage <= 1:
            raise UsageError(f"coverage must be between 0 and 1, got {self.coverage}")
        if self.branches < 2 and self.coverage < 1:
            raise UsageError(
                f"branches must be at least 2, got {self.branches}: one draw does not tell the "
                "noise from the mean (or enumerate all tokens by coverage 1)"
            )
        if self.most < 1:
            raise UsageError(f"most must be at least 1, got {self.most}")

    def most_tried(self, vocabulary: int) -> int:
        """Of each prefix, at most."""
        if self.coverage == 1:
            return vocabulary
        return self.branches + (self.most if self.coverage else 0)

    @property
    def draws(self) -> int:
        """How many tokens are drawn after each prefix."""
        return 0 if self.coverage == 1 else self.branches

    def __str__(self) -> str:
        if self.coverage == 1:
            return "every next token of each prefix"
        drawn = f"{self.branches} next tokens drawn for each prefix"
        if self.coverage == 0:
            return drawn
        return f"the likeliest next tokens up to {self.coverage:g} of the law, and {drawn}"

    def of(
        self, law: Float[Tensor, "*batch vocabulary"], uniform: Float[Tensor, "*batch draw"]
    ) -> WeightedTokens:
        """By inversion of the distribution function at uniform numbers, one for each draw."""
        law = law.double() / law.double().sum(-1, keepdim=True)
        if self.coverage == 1:
            return WeightedTokens(torch.arange(law.shape[-1]).expand(law.shape), law, 0)
        if self.coverage == 0:
            tokens = inverse_cdf(law, uniform)
            return WeightedTokens(
                tokens, torch.full_like(uniform, 1 / self.branches), self.branches
            )
        return self._mixed(law, uniform)

    def _mixed(self, law: Tensor, uniform: Tensor) -> WeightedTokens:
        ordered, index = law.sort(dim=-1, descending=True, stable=True)
        rank = torch.arange(law.shape[-1])
        listed = (ordered.cumsum(-1) - ordered < self.coverage) & (rank < self.most)
        width = int(listed.sum(-1).max())
        rest = ordered.masked_fill(listed, 0.0)
        left = rest.sum(-1, keepdim=True)
        drawn = index.gather(-1, inverse_cdf(rest, uniform))
        known = (ordered * listed)[..., :width]
        share = (left / self.branches).expand(uniform.shape)
        tokens = torch.cat([drawn, index[..., :width]], -1)
        return WeightedTokens(tokens, torch.cat([share, known], -1), self.branches)


def joined(parts: list[WeightedTokens]) -> WeightedTokens:
    """Of several batches, each as wide as the widest: what is added has no weight."""
    width = max(part.tokens.shape[-1] for part in parts)
    pad = torch.nn.functional.pad
    gaps = [(0, width - part.tokens.shape[-1]) for part in parts]
    return WeightedTokens(
        torch.cat([pad(p.tokens, gap) for p, gap in zip(parts, gaps, strict=True)]),
        torch.cat([pad(p.weights, gap) for p, gap in zip(parts, gaps, strict=True)]),
        parts[0].drawn,
    )
