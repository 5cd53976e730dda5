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
    """Next-token laws after positions `at` of right-padded texts, in about `memory` bytes.

    Laws over the vocabulary are reduced a few positions at a time.
    """
    width, parts = model.card.vocabulary, []
    rows = max(1, memory // (8 * width * tokens.shape[1]))  # float32 logits at all positions
    places = max(1, memory // (40 * width * min(rows, len(tokens))))  # float64 laws and sums
    for few, own in zip(torch.split(tokens, rows), torch.split(uniform, rows), strict=True):
        logits = model.run(few, logits=True).required_logits
        blocks = []
        for place in torch.split(torch.arange(len(at)), places):
            some = at[place]
            # on the CPU, where the texts were sampled
            law = sampler.law(logits[:, some], few, some, model.card.ends).double().cpu()
            require_finite_law(law, model)
            blocks.append(_of(law, few[:, some + 1], choice.of(law, own[:, place])))
        parts.append(_joined(blocks, dim=1))
    return _joined(parts, dim=0)


def _joined(parts: list[NextTokenLaw], dim: int) -> NextTokenLaw:
    rest = (torch.cat([getattr(part, name) for part in parts], dim) for name in NUMBERS)
    return NextTokenLaw(concatenate([part.chosen for part in parts], dim), *rest)


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
