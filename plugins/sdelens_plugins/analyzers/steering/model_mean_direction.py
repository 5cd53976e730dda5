"""Displacement to the model's own mean next state."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.branching.prefix_cache import PrefixCache
from sdelens.protocols import LanguageModel, Site
from sdelens.states.sampling import inverse_cdf
from sdelens.steering.writer import Here
from sdelens_plugins.analyzers.steering.control_directions import by_text


@dataclass(frozen=True, eq=False)
class ModelMeanDirection:
    """m* - X as the drift and X - m* as the noise.

    m* is the mean state after `branches` next tokens, by systematic sampling from the model: with
    one uniform number U, the tokens at the levels (b + U) / branches of the cumulative
    distribution. The estimate of m* is unbiased but has a sampling error.
    """

    branches: int
    seed: int
    cached: bool = True
    """Whether branches share a key-value cache; otherwise each is a whole forward pass."""

    @classmethod
    def of(
        cls,
        model: LanguageModel,
        site: Site,
        ids: Int[Tensor, "row token"],
        branches: int,
        seed: int,
    ) -> "ModelMeanDirection":
        """Uses the cache if it gives the states of whole forward passes over these texts."""
        cache = PrefixCache.of(model, ids[:2], [site], cached=True)
        at = torch.tensor([ids.shape[1] - 1])
        return cls(branches, seed, cache.agrees(ids[:2, -1:, None], at))

    def drift(self, here: Here) -> Float[Tensor, "row dim"]:
        return self.mean(here) - here.x

    def noise(self, here: Here) -> Float[Tensor, "row dim"]:
        if here.previous is None:
            raise ValueError("the noise of a step needs the previous state, but there is none")
        return here.x - self.mean(here.previous)

    @torch.no_grad()
    def mean(self, here: Here) -> Float[Tensor, "row dim"]:
        """m* after the last of these tokens."""
        start = by_text(here, lambda r: torch.rand(1, generator=r, dtype=torch.float64), self.seed)
        uniform = (torch.arange(self.branches) + start) / self.branches
        tokens = inverse_cdf(here.law.exp(), uniform)
        past = here.past if self.cached else None
        cache = PrefixCache(here.model, here.tokens, [here.site], {}, past)
        states = cache.feed(tokens[:, None], torch.tensor([here.tokens.shape[1] - 1]))
        return states[here.site][:, 0].mean(1)
