"""The model's own expectation of the next state, as a displacement to steer by."""

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
    """m* - X in the place of the drift, X - m* in that of the noise.

    m* is the mean state after `branches` next tokens, by systematic sampling of the model's own
    law: one uniform number U, and the tokens at the shares (b + U) / branches of the law's
    distribution function. It is unbiased, and has an error: it is not quite m*.
    """

    branches: int
    seed: int
    cached: bool = True
    """Whether next tokens are tried behind a shared cache, else by whole passes."""

    @classmethod
    def of(
        cls,
        model: LanguageModel,
        site: Site,
        ids: Int[Tensor, "row token"],
        branches: int,
        seed: int,
    ) -> "ModelMeanDirection":
        """With the cache, if states from it are those of whole passes over these texts."""
        feeder = PrefixCache.of(model, ids[:2], [site], cached=True)
        at = torch.tensor([ids.shape[1] - 1])
        return cls(branches, seed, feeder.shares(ids[:2, -1:, None], at))

    def drift(self, here: Here) -> Float[Tensor, "row dim"]:
        return self.mean(here) - here.x

    def noise(self, here: Here) -> Float[Tensor, "row dim"]:
        if here.previous is None:
            raise ValueError("a noise is that of a step: a state before is needed")
        return here.x - self.mean(here.previous)

    @torch.no_grad()
    def mean(self, here: Here) -> Float[Tensor, "row dim"]:
        """m* after the last of these tokens."""
        start = by_text(here, lambda r: torch.rand(1, generator=r, dtype=torch.float64), self.seed)
        uniform = (torch.arange(self.branches) + start) / self.branches
        tokens = inverse_cdf(here.law.exp(), uniform)
        past = here.past if self.cached else None
        feeder = PrefixCache(here.model, here.tokens, [here.site], {}, past)
        states = feeder.feed(tokens[:, None], torch.tensor([here.tokens.shape[1] - 1]))
        return states[here.site][:, 0].mean(1)
