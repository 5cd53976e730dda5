"""The law of the next token as texts are sampled from it, and draws from it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.containment.contained import contained
from sdelens.errors import BrokenPlugin, UsageError
from sdelens.paths.trajectories import NO_TOKEN
from sdelens.protocols import Source
from sdelens.sampling_protocols import SamplingSource
from sdelens.seeds import generator

LEAST = 1e-6
"""Smallest temperature: logits overflow beyond it."""


@dataclass(frozen=True)
class Sampler:
    """How the next token is drawn from the logits.

    The repetition penalty comes first, then the temperature, and the remaining settings leave out
    unlikely tokens, as in the `generate` of Hugging Face.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    ignore_eos: bool = False
    """Exclude the tokens that end a text, so that every text reaches the full length."""
    top_k: int = 0
    """Keep the k most likely tokens; 0 keeps all."""
    min_p: float = 0.0
    """Leave out tokens whose probability is below `min_p` times that of the most likely token."""
    repetition_penalty: float = 1.0
    """Divides positive logits of tokens that occurred, prompt included; multiplies negative."""

    def __post_init__(self) -> None:
        if not LEAST <= self.temperature < math.inf:
            raise UsageError(
                f"temperature must be above 0, at least {LEAST} and finite, got {self.temperature}"
            )
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top-p must be above 0 and at most 1, got {self.top_p}")
        if self.top_k < 0:
            raise UsageError(f"top-k must be at least 0, which keeps all, got {self.top_k}")
        if not 0 <= self.min_p <= 1:
            raise UsageError(f"min-p must be between 0 and 1, got {self.min_p}")
        if not 0 < self.repetition_penalty < math.inf:
            raise UsageError(
                "repetition-penalty must be above 0 and finite, where 1 is none, got "
                f"{self.repetition_penalty}"
            )

    def __str__(self) -> str:
        parts = [f"temperature {self.temperature:g}"]
        parts += [f"top-k {self.top_k}"] if self.top_k else []
        parts += [f"top-p {self.top_p:g}"] if self.top_p < 1 else []
        parts += [f"min-p {self.min_p:g}"] if self.min_p else []
        if self.looks_back:
            parts += [f"repetition penalty {self.repetition_penalty:g}"]
        return ", ".join(parts + (["end of text banned"] if self.ignore_eos else []))

    @property
    def looks_back(self) -> bool:
        """Whether the law depends on earlier tokens other than through the logits."""
        return self.repetition_penalty != 1

    @property
    def truncates(self) -> bool:
        """Whether unlikely tokens are left out."""
        return self.top_p < 1 or self.top_k > 0 or self.min_p > 0

    def law(
        self,
        logits: Float[Tensor, "*batch position vocabulary"],
        tokens: Int[Tensor, "*batch time"],
        at: Int[Tensor, " position"],
        ends: Sequence[int],
    ) -> Float[Tensor, "*batch position vocabulary"]:
        """Probabilities of the token after each position `at` of `tokens`.

        Negative token ids are padding. `ends` are the tokens that end a text.
        """
        logits = logits.float()
        if self.looks_back:
            logits = self._penalised(logits, tokens.to(logits.device), at.to(logits.device))
        return self.probabilities(logits, ends)

    def _penalised(
        self,
        logits: Float[Tensor, "*batch position vocabulary"],
        tokens: Int[Tensor, "*batch time"],
        at: Int[Tensor, " position"],
    ) -> Float[Tensor, "*batch position vocabulary"]:
        """Logits with the repetition penalty of Keskar et al. (2019)."""
        before = torch.arange(tokens.shape[-1], device=at.device) <= at[:, None]
        found = tokens[..., None, :].where(before, NO_TOKEN)
        own = logits.gather(-1, found.clamp(min=0))
        penalty = self.repetition_penalty
        changed = torch.where(own < 0, own * penalty, own / penalty)
        # padding is scattered to a column of its own, which is cut off
        wide = torch.nn.functional.pad(logits, (0, 1))
        index = found.where(found >= 0, logits.shape[-1])
        return wide.scatter(-1, index, changed)[..., :-1]

    def probabilities(
        self, logits: Float[Tensor, "*batch vocabulary"], ends: Sequence[int]
    ) -> Float[Tensor, "*batch vocabulary"]:
        """Probabilities of the next token, without the repetition penalty.

        Nucleus sampling keeps the smallest set of most likely tokens with total probability
        `top_p` (Holtzman et al. 2020), here of the `top_k` most likely; the most likely token is
        always kept.
        """
        logits = logits.float() / self.temperature
        if self.ignore_eos and ends:
            banned = torch.tensor(ends, device=logits.device)
            logits = logits.index_fill(-1, banned, -torch.inf)
        law = logits.softmax(-1)
        if not self.truncates:
            return law
        return self._truncated(law)

    def _truncated(
        self, law: Float[Tensor, "*batch vocabulary"]
    ) -> Float[Tensor, "*batch vocabulary"]:
        """The law without its unlikely tokens."""
        if self.top_k:
            ordered, index = law.topk(min(self.top_k, law.shape[-1]), -1)
            ordered = ordered / ordered.sum(-1, keepdim=True)
        else:
            ordered, index = law.sort(-1, descending=True)
        outside = ordered < self.min_p * ordered[..., :1]
        if self.top_p < 1:
            outside = outside | (ordered.cumsum(-1) - ordered >= self.top_p)
        outside[..., 0] = False  # a tiny `top_p` is 0 in single precision
        kept = torch.zeros_like(law).scatter(-1, index, ordered.masked_fill(outside, 0))
        return kept / kept.sum(-1, keepdim=True)


def sampler_of(source: Source) -> Sampler | None:
    """How a source samples its texts from the model; None for texts of any other source."""
    if not isinstance(source, SamplingSource):
        return None
    with contained(f"the source {type(source).__name__}"):
        sampler = source.sampling_settings()
    if not isinstance(sampler, Sampler):
        raise BrokenPlugin(
            f"sampling_settings() of the source {type(source).__name__} must return a "
            f"sdelens.states.sampling.Sampler, got {sampler!r}: return one, or rename the method"
        )
    return sampler


def uniforms(
    numbers: Int[Tensor, " text"], shape: Sequence[int], seed: int, label: str
) -> Float[Tensor, "text *shape"]:
    """Uniform numbers that depend only on a text's number, not on the rest of its batch."""
    each = (
        torch.rand(*shape, generator=generator(seed, label, number), dtype=torch.float64)
        for number in numbers.tolist()
    )
    return torch.stack(list(each))


def inverse_cdf(
    law: Float[Tensor, "*batch vocabulary"], uniform: Float[Tensor, "*batch draw"]
) -> Int[Tensor, "*batch draw"]:
    """Invert the distribution function of unnormalised laws; never a token of probability 0."""
    heights = law.cumsum(-1)
    found = torch.searchsorted(heights, uniform * heights[..., -1:], right=True)
    return found.clamp(max=law.shape[-1] - 1)
