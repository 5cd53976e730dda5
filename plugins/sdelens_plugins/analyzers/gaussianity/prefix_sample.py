"""Prefixes of each text with the states after many next tokens, at several temperatures."""

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
from sdelens.settings import require_at_least
from sdelens.states.requirements import require_readable
from sdelens.states.sampling import Sampler, uniforms
from sdelens_plugins.analyzers.gaussianity.temperatures import (
    AtTemperature,
    at_temperature,
    widest,
)

ENUMERATED = 1 - 1e-9
"""Tokens are enumerated up to this probability; the rest can be sampled."""
TOGETHER = 16
"""Prefixes whose laws and next states are in memory together."""


def token_choice(vocabulary: int, listed: int, drawn: int) -> TokenChoice:
    """All next tokens if there are few, else the `listed` most likely and `drawn` samples."""
    if vocabulary <= listed + drawn:
        return TokenChoice(coverage=1.0)
    return TokenChoice(drawn, ENUMERATED, most=listed)


@dataclass(frozen=True, eq=False)
class PrefixSample:
    """Some prefixes of one text and their next states."""

    row: int
    """The row of the document."""
    at: Int[Tensor, " prefix"]
    """The last position of each prefix."""
    at_temperature: AtTemperature
    following: Float[Tensor, "prefix branch dim"]
    """The states after the next tokens."""
    block: Float[Tensor, "1 time dim"]
    """The states of the text itself."""
    excess: Float[Tensor, "3 unit"]
    """Sums of surprisal minus entropy over all prefixes of the text (`SamplerCheck`)."""


@dataclass(frozen=True)
class PrefixSampling:
    """Samples `prefixes` prefixes in total, equally many of each text, and their next tokens."""

    sampler: Sampler
    """The sampler of the texts; only its temperature is replaced."""
    temperatures: tuple[float, ...]
    prefixes: int
    listed: int
    drawn: int

    def __post_init__(self) -> None:
        require_at_least(self, prefixes=1)
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
        """Yields samples of a few prefixes of one text each, with vocabulary-wide laws of these.

        Positions and draws depend only on the seed and the number of the document.
        """
        require_readable(model, prefixes.documents)
        padded = prefixes.documents.padded().clamp(min=0)
        choice = token_choice(model.card.vocabulary, self.listed, self.drawn)
        cached: bool | None = None  # not tested yet
        for row, places in self._positions(prefixes, seed):
            tokens = padded[row : row + 1, : int(prefixes.documents.lengths[row])]
            cache = PrefixCache.of(model, tokens, [site], cached=cached is not False)
            logits = model.run(tokens, logits=True).required_logits[0]
            require_finite_law(logits, model)
            number, longest = prefixes.numbers[row : row + 1], int(places[-1]) + 1
            uniform = uniforms(number, (longest, choice.draws), seed, DRAWS)[0]
            excess = self._excess(model, logits, tokens[0], prefixes, row)
            for at in torch.split(places, TOGETHER):
                laws = self._laws(model, logits, tokens[0], at)
                sample = at_temperature(laws, widest(self.temperatures), choice, uniform[at])
                if cached is None:
                    cached = cache.agrees(sample.tokens[None], at)
                cache = cache if cached else cache.without()
                following = cache.feed(sample.tokens[None], at)[site][0]
                yield PrefixSample(row, at, sample, following, cache.states[site], excess)
                excess = torch.zeros_like(excess)  # counted once

    def _positions(
        self, prefixes: Prefixes, seed: int
    ) -> Iterator[tuple[int, Int[Tensor, " prefix"]]]:
        """Some positions of each text, sampled uniformly from those that have a next token."""
        per_text, remainder = divmod(self.prefixes, len(prefixes.documents))
        last = prefixes.documents.lengths - 1
        for row, number in enumerate(prefixes.numbers.tolist()):
            first, count = int(prefixes.recorded[row]), int(last[row] - prefixes.recorded[row])
            random = generator(seed, "prefixes", number)
            drawn = torch.randperm(max(0, count), generator=random)[: per_text + (row < remainder)]
            if len(drawn):
                yield row, first + drawn.sort().values

    def _laws(
        self,
        model: LanguageModel,
        logits: Float[Tensor, "time vocabulary"],
        tokens: Int[Tensor, " time"],
        at: Int[Tensor, " prefix"],
    ) -> Float[Tensor, "law prefix vocabulary"]:
        """The laws of the next token by temperature."""
        samplers = [replace(self.sampler, temperature=t) for t in self.temperatures]
        ends = model.card.ends
        return torch.stack([s.law(logits[at], tokens, at, ends).cpu() for s in samplers])

    def _excess(
        self,
        model: LanguageModel,
        logits: Float[Tensor, "time vocabulary"],
        tokens: Int[Tensor, " time"],
        prefixes: Prefixes,
        row: int,
    ) -> Float[Tensor, "3 unit"]:
        """Sums of surprisal minus entropy of a text, for the check of the sampler."""
        parts = []
        before = torch.arange(int(prefixes.recorded[row]), len(tokens) - 1)
        for at in torch.split(before, TOGETHER):
            own = self.sampler.law(logits[at], tokens, at, model.card.ends).double().cpu()
            surprisal = -own.gather(-1, tokens[at + 1, None].cpu())[:, 0].log()
            parts.append(torch.stack([surprisal, torch.special.entr(own).sum(-1)]))
        surprisal, entropy = torch.cat(parts, 1)
        return excesses(surprisal, entropy, prefixes.unit[row].expand(len(before)), prefixes.units)
