"""The next-token law after every prefix of some texts, and tokens sampled from it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.branching.token_choice import TokenChoice, WeightedTokens, concatenate
from sdelens.errors import BadNumbers
from sdelens.protocols import LanguageModel
from sdelens.states.sampling import Sampler

NUMBERS = ("entropy", "collision", "surprisal")


@dataclass(frozen=True, eq=False)
class NextTokenLaw:
    """The next-token law after the prefix that ends at each position, in nats."""

    chosen: WeightedTokens
    entropy: Float[Tensor, "document position"]
    collision: Float[Tensor, "document position"]
    """The sum of squared probabilities: the probability that two draws agree."""
    surprisal: Float[Tensor, "document position"]
    """Surprisal of the observed next token; infinite where its probability is zero."""

    def rows(self, index: Int[Tensor, " chosen"]) -> "NextTokenLaw":
        """Select positions."""
        rest = (getattr(self, name)[:, index] for name in NUMBERS)
        return NextTokenLaw(self.chosen[:, index], *rest)


@torch.no_grad()
def next_token_law(
    model: LanguageModel,
    tokens: Int[Tensor, "document time"],
    uniform: Float[Tensor, "document position draw"],
    at: Int[Tensor, " position"],
    *,
    sampler: Sampler,
    choice: TokenChoice,
    memory: int,
) -> NextTokenLaw:
    """Next-token laws after positions `at` of right-padded texts, within `memory` bytes."""
    # bytes per text: float32 logits at all positions, and float64 laws with their sums at `at`
    each = model.card.vocabulary * (4 * tokens.shape[1] + 40 * len(at))
    size = max(1, memory // each)
    parts = []
    for first in range(0, len(tokens), size):
        few = slice(first, first + size)
        logits = model.run(tokens[few], logits=True).required_logits
        # on the CPU, where the texts were sampled
        law = sampler.law(logits[:, at], tokens[few], at, model.card.ends).double().cpu()
        require_finite_law(law, model)
        parts.append(_of(law, tokens[few][:, at + 1], choice.of(law, uniform[few])))
    rest = (torch.cat([getattr(part, name) for part in parts]) for name in NUMBERS)
    return NextTokenLaw(concatenate([part.chosen for part in parts]), *rest)


def require_finite_law(values: Tensor, model: LanguageModel) -> None:
    """Raise `BadNumbers` unless the logits, or laws computed from them, are finite."""
    if not values.isfinite().all():
        raise BadNumbers(
            f"logits must be finite, but those of {model.card.name} on its texts are not: "
            "use --dtype float32"
        )


def _of(law: Tensor, following: Tensor, chosen: WeightedTokens) -> NextTokenLaw:
    entropy = torch.special.entr(law).sum(-1)
    surprisal = -law.gather(-1, following[..., None].cpu())[..., 0].log()
    return NextTokenLaw(chosen, entropy, law.square().sum(-1), surprisal)
