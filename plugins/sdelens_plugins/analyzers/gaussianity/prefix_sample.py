"""A few prefixes of each text, with the states after many next tokens, for several samplers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.branching.next_token_law import require_finite_law
from sdelens.branching.prefix_cache import PrefixCache
from sdelens.branching.prefixes import Prefixes
from sdelens.branching.sampler_check import excesses
from sdelens.branching.token_choice import DRAWS, TokenChoice
from sdelens.errors import UsageError
from sdelens.protocols import LanguageModel, Site
from sdelens.seeds import generator
from sdelens.states.capturing import require_context
from sdelens.states.sampling import Sampler, uniforms
from sdelens_plugins.analyzers.gaussianity.temperatures import (
    AtTemperature,
    at_temperature,
    widest,
)

NEARLY = 1 - 1e-9
"""Enumerated up to this probability; what is left can be drawn."""


def token_choice_of(vocabulary: int, listed: int, drawn: int) -> TokenChoice:
    """All next tokens where they are few, else so many of the likeliest and draws of the rest."""
    if vocabulary <= listed + drawn:
        return TokenChoice(coverage=1.0)
    return TokenChoice(drawn, NEARLY, most=listed)


@dataclass(frozen=True, eq=False)
class PrefixSample:
    """Of one text."""

    row: int
    """Which of the documents."""
    at: Int[Tensor, " prefix"]
    """The last position of each prefix."""
    at_temperature: AtTemperature
    following: Float[Tensor, "prefix branch dim"]
    """States after the next tokens."""
    block: Float[Tensor, "1 time dim"]
    """States of the text itself."""
    excess: Float[Tensor, "3 unit"]
    """Whether the text is drawn so, from all its prefixes (`agreement`)."""


@dataclass(frozen=True)
class PrefixSampling:
    """`prefixes` in all, equally many of each text, after which tokens are tried."""

    sampler: Sampler
    """How the texts were drawn; only the temperature is replaced."""
    temperatures: tuple[float, ...]
    prefixes: int
    listed: int
    drawn: int

    def __post_init__(self) -> None:
        if self.prefixes < 1:
            raise UsageError(f"prefixes must be at least 1, got {self.prefixes}")
        if self.listed < 1 or self.drawn < 2:
            raise UsageError(
                "listed must be at least 1 and drawn at least 2, got "
                f"listed={self.listed} and drawn={self.drawn}"
            )
        if not self.temperatures or min(self.temperatures) <= 0:
            raise UsageError(f"temperatures must be above 0, got {self.temperatures}")

    @torch.no_grad()
    def __call__(
        self, model: LanguageModel, prefixes: Prefixes, site: Site, *, seed: int
    ) -> Iterator[PrefixSample]:
        """All texts that have a prefix.

        Positions and draws depend on the seed and the document's number alone.
        """
        require_context(model, prefixes.documents)
        padded = prefixes.documents.padded().clamp(min=0)
        cached: bool | None = None  # not tried yet
        for row, at in self._places(prefixes, seed):
            tokens = padded[row : row + 1, : int(prefixes.documents.lengths[row])]
            feeder = PrefixCache.of(model, tokens, [site], cached=cached is not False)
            laws, excess = self._laws(model, tokens[0], at, prefixes, row)
            choice = token_choice_of(laws.shape[-1], self.listed, self.drawn)
            number, longest = prefixes.numbers[row : row + 1], int(at[-1]) + 1
            uniform = uniforms(number, (longest, choice.draws), seed, DRAWS)[0, at]
            found = at_temperature(laws, widest(self.temperatures), choice, uniform)
            if cached is None:
                cached = feeder.agrees(found.tokens[None], at)
            feeder = feeder if cached else feeder.without()
            ahead = feeder.feed(found.tokens[None], at)[site][0]
            yield PrefixSample(row, at, found, ahead, feeder.states[site], excess)

    def _places(
        self, prefixes: Prefixes, seed: int
    ) -> Iterator[tuple[int, Int[Tensor, " prefix"]]]:
        """Of each text some positions, evenly drawn from those that have a next token."""
        each, more = divmod(self.prefixes, len(prefixes.documents))
        last = prefixes.documents.lengths - 1
        for row, number in enumerate(prefixes.numbers.tolist()):
            first, found = int(prefixes.first[row]), int(last[row] - prefixes.first[row])
            random = generator(seed, "prefixes", number)
            drawn = torch.randperm(max(0, found), generator=random)[: each + (row < more)]
            if len(drawn):
                yield row, first + drawn.sort().values

    def _laws(
        self,
        model: LanguageModel,
        tokens: Int[Tensor, " time"],
        at: Int[Tensor, " prefix"],
        prefixes: Prefixes,
        row: int,
    ) -> tuple[Float[Tensor, "law prefix vocabulary"], Float[Tensor, "3 unit"]]:
        """Of the next token by temperature; and what the text says of its own sampler."""
        logits = model.run(tokens[None], logits=True).required_logits
        require_finite_law(logits, model)
        eos, first = model.card.eos, int(prefixes.first[row])
        own = self.sampler.probabilities(logits[0, first:-1], eos).double().cpu()
        surprisal = -own.gather(-1, tokens[first + 1 :, None].cpu())[:, 0].log()
        unit = prefixes.unit[row].expand(len(own))
        excess = excesses(surprisal, torch.special.entr(own).sum(-1), unit, prefixes.units)
        samplers = [replace(self.sampler, temperature=t) for t in self.temperatures]
        laws = torch.stack([each.probabilities(logits[0, at], eos).cpu() for each in samplers])
        return laws, excess
