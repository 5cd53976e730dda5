r"""The next tokens to evaluate after a prefix, with their weights.

With :math:`p` the law of the next token, an expectation :math:`\sum_v p_v f(v)` is the sum over
some enumerated tokens plus r times the mean over the remaining tokens, whose probability is r.
R draws from the remaining tokens estimate that mean without bias; truncating the law to its most
likely tokens and renormalising does not. Enumerating no token gives plain sampling; enumerating
all tokens leaves nothing to draw.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.settings import require_at_least
from sdelens.states.sampling import inverse_cdf

DRAWS = "branch"
"""Seed label of the uniform numbers that draw next tokens (`uniforms`)."""


@dataclass(frozen=True, eq=False)
class WeightedTokens:
    """Next tokens with weights that sum to one; sampled tokens come first."""

    tokens: Int[Tensor, "*batch branch"]
    weights: Float[Tensor, "*batch branch"]
    """Probabilities of enumerated tokens; 1/R of the remaining probability for sampled ones."""
    drawn: int
    """Number of sampled tokens."""

    def __getitem__(self, index: tuple[Tensor | slice, ...]) -> "WeightedTokens":
        return WeightedTokens(self.tokens[index], self.weights[index], self.drawn)


@dataclass(frozen=True)
class TokenChoice:
    """Number of next tokens to sample, and the probability to enumerate instead."""

    branches: int = 2
    """Independent draws after each prefix."""
    coverage: float = 0.0
    """Enumerate the most likely tokens up to this probability; 1 enumerates the vocabulary."""
    most: int = 64
    """Maximum number of enumerated tokens, unless `coverage` is 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.coverage <= 1:
            raise UsageError(f"coverage must be between 0 and 1, got {self.coverage}")
        if self.branches < 2 and self.coverage < 1:
            raise UsageError(
                f"branches must be at least 2, got {self.branches}: one draw cannot separate "
                "noise from the mean (coverage=1 enumerates all tokens instead)"
            )
        require_at_least(self, most=1)

    def most_tried(self, vocabulary: int) -> int:
        """Maximum number of next tokens per prefix."""
        if self.coverage == 1:
            return vocabulary
        return self.branches + (self.most if self.coverage else 0)

    @property
    def draws(self) -> int:
        """Number of tokens sampled after each prefix."""
        return 0 if self.coverage == 1 else self.branches

    def __str__(self) -> str:
        if self.coverage == 1:
            return "every next token of each prefix"
        drawn = f"{self.branches} next tokens sampled for each prefix"
        if self.coverage == 0:
            return drawn
        return f"the most likely next tokens up to probability {self.coverage:g}, and {drawn}"

    def of(
        self, law: Float[Tensor, "*batch vocabulary"], uniform: Float[Tensor, "*batch draw"]
    ) -> WeightedTokens:
        """Sample by inverting the distribution function at one uniform number per draw."""
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


def concatenate(parts: list[WeightedTokens], dim: int = 0) -> WeightedTokens:
    """Concatenate batches along an axis, padded to the widest with weight zero."""
    width = max(part.tokens.shape[-1] for part in parts)
    pad = torch.nn.functional.pad
    gaps = [(0, width - part.tokens.shape[-1]) for part in parts]
    return WeightedTokens(
        torch.cat([pad(p.tokens, gap) for p, gap in zip(parts, gaps, strict=True)], dim),
        torch.cat([pad(p.weights, gap) for p, gap in zip(parts, gaps, strict=True)], dim),
        parts[0].drawn,
    )
