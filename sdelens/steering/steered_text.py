"""A steered and an unsteered continuation of a prompt, side by side."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.protocols import LanguageModel
from sdelens.states.capturing import with_bos
from sdelens.states.distinct_n import distinct_n
from sdelens.states.sampling import uniforms
from sdelens.steering.doses import Steering
from sdelens.steering.writer import STEERED, SteeredTokens, Writer


@dataclass(frozen=True)
class Continuation:
    """A generated text with its statistics."""

    text: str
    perplexity: float
    """Perplexity under the unsteered model."""
    entropy: float
    """Mean entropy of the laws the tokens were drawn from, in nats."""
    kl: float
    """Mean KL(unsteered || steered) over tokens after a steered state, in nats."""
    distinct2: float
    """Share of distinct bigrams (distinct-2)."""

    @classmethod
    def of(cls, model: LanguageModel, written: SteeredTokens, row: int) -> "Continuation":
        """The continuation in one row."""
        words = written.words[row]
        return cls(
            text="".join(model.decode(words.tolist())),
            perplexity=math.exp(float(written.nats[row].mean())),
            entropy=float(written.entropy[row].mean()),
            kl=float(written.kl[row, 1:].mean()) if len(words) > 1 else 0.0,
            distinct2=distinct_n(words, 2),
        )

    @property
    def numbers(self) -> str:
        """The statistics in one line."""
        return (
            f"perplexity {self.perplexity:.3g}, entropy {self.entropy:.2f} nats, distinct-2 "
            f"{self.distinct2:.2f}, KL from the unsteered law {self.kl:.3g} nats per token"
        )


@dataclass(frozen=True, repr=False)
class SteeredText:
    """Two continuations of a prompt drawn with the same random numbers.

    Their first tokens are equal, because states of the prompt are not steered.
    """

    prompt: str
    steering: Steering
    unsteered: Continuation
    steered: Continuation

    def __str__(self) -> str:
        pairs = (("unsteered", self.unsteered), (f"steered by {self.steering}", self.steered))
        return "\n".join(f"{name}: {one.text!r}\n  {one.numbers}" for name, one in pairs)

    __repr__ = __str__


def steered_text(
    writer: Writer, prompt: str, steering: Steering, *, tokens: int, seed: int
) -> SteeredText:
    """Generate both continuations in one batch."""
    model = writer.model
    ids = prompt_ids(model, prompt, skip_first=writer.skip_first, tokens=tokens)
    uniform = uniforms(torch.zeros(1, dtype=torch.long), (tokens,), seed, STEERED)
    written = replace(writer, how=steering.how).write(
        ids.expand(2, -1),
        torch.tensor([0.0, steering.dose]),
        torch.tensor([1.0, steering.diffusion]),
        uniform.expand(2, -1),
        torch.zeros(2, dtype=torch.long),
    )
    own, steered = (Continuation.of(model, written, row) for row in (0, 1))
    return SteeredText(prompt, steering, own, steered)


def prompt_ids(
    model: LanguageModel, prompt: str, *, skip_first: int, tokens: int
) -> Int[Tensor, "1 token"]:
    """Token ids of a prompt; raises `UsageError` if it is too short or too long to continue."""
    ids, context = with_bos(model, prompt), model.card.context
    if tokens < 1:
        raise UsageError(f"tokens must be at least 1, got {tokens}")
    if len(ids) <= skip_first:
        raise UsageError(
            f"steering starts from a state, but the prompt {prompt!r} has none after the first "
            f"{skip_first} skipped position(s): give a longer prompt"
        )
    if len(ids) + tokens > context:
        raise UsageError(
            f"a prompt of {len(ids):,} tokens plus {tokens:,} new ones exceeds the context of "
            f"{model.card.name} ({context:,} tokens): give a shorter prompt, or fewer tokens"
        )
    return torch.tensor([ids])
