"""The law of the next token after every prefix of some texts, and the tokens chosen by it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.branching.token_choice import TokenChoice, WeightedTokens, joined
from sdelens.errors import BadNumbers
from sdelens.protocols import LanguageModel
from sdelens.states.sampling import Sampler

NUMBERS = ("entropy", "collision", "surprisal")


@dataclass(frozen=True, eq=False)
class NextTokenLaw:
    """After the prefix that ends at each position; entropies and surprisals in nats."""

    chosen: WeightedTokens
    entropy: Float[Tensor, "document position"]
    collision: Float[Tensor, "document position"]
    """The sum of squared probabilities: the chance that two draws agree."""
    surprisal: Float[Tensor, "document position"]
    """Of the token that came next; infinite where the law rules it out."""

    def rows(self, index: Int[Tensor, " chosen"]) -> "NextTokenLaw":
        """Of some positions."""
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
    """After positions `at` of right-padded texts; a few texts at a time, within `memory` bytes."""
    # logits, and double precision laws and sums of them, a few at a time
    each = model.card.vocabulary * (4 * tokens.shape[1] + 40 * len(at))
    size = max(1, memory // each)
    parts = []
    for first in range(0, len(tokens), size):
        few = slice(first, first + size)
        logits = model.run(tokens[few], logits=True).required_logits
        # on the CPU, as the texts were drawn
        law = sampler.probabilities(logits[:, at], model.card.eos).double().cpu()
        require_finite_law(law, model)
        parts.append(_of(law, tokens[few][:, at + 1], choice.of(law, uniform[few])))
    rest = (torch.cat([getattr(part, name) for part in parts]) for name in NUMBERS)
    return NextTokenLaw(joined([part.chosen for part in parts]), *rest)


def require_finite_law(values: Tensor, model: LanguageModel) -> None:
    """An error where logits, or a law made of them, are not numbers."""
    if not values.isfinite().all():
        raise BadNumbers(
            f"logits must be finite, but those of {model.card.name} on its texts are not: "
            "use --dtype float32"
        )


def _of(law: Tensor, following: Tensor, chosen: WeightedTokens) -> NextTokenLaw:
    entropy = torch.special.entr(law).sum(-1)
    surprisal = -law.gather(-1, following[..., None].cpu())[..., 0].log()
    return NextTokenLaw(chosen, entropy, law.square().sum(-1), surprisal)
