"""What a model writes from a prompt, steered and left to itself, side by side."""

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
    """A text, and what it is worth."""

    text: str
    perplexity: float
    """Under the model left to itself."""
    entropy: float
    """Of the laws that its words were drawn from, in nats; their mean."""
    kl: float
    """KL(own || steered), in nats: the mean over words that follow a steered state."""
    distinct2: float
    """The share of pairs of words that are new."""

    @classmethod
    def of(cls, model: LanguageModel, written: SteeredTokens, row: int) -> "Continuation":
        """Of one row."""
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
        """In one line."""
        return (
            f"perplexity {self.perplexity:.3g}, entropy {self.entropy:.2f} nats, distinct-2 "
            f"{self.distinct2:.2f}, KL from the model's own law {self.kl:.3g} nats per word"
        )


@dataclass(frozen=True, repr=False)
class SteeredText:
    """Two continuations of a prompt whose draws are the same.

    The first word is, too: it follows the prompt, where nothing is steered.
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
    """Both in one batch."""
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
    """A prompt as the model reads it; an error where it is too short or leaves no room."""
    ids, context = with_bos(model, prompt), model.card.context
    if tokens < 1:
        raise UsageError(f"tokens must be at least 1, got {tokens}")
    if len(ids) <= skip_first:
        raise UsageError(
            f"steering goes on from a state, but the prompt {prompt!r} has none after the first "
            f"{skip_first} position(s), which are skipped: give a longer prompt"
        )
    if len(ids) + tokens > context:
        raise UsageError(
            f"the prompt has {len(ids):,} tokens and {tokens:,} are to follow, but "
            f"{model.card.name} reads at most {context:,} at once: give a shorter prompt, or "
            "fewer tokens"
        )
    return torch.tensor([ids])
