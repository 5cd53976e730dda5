"""Displacements that control for a fit's own: other tokens', random, to the mean."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sdelens.evidence.scorecard import past, pieces
from sdelens.fitting.fitted import Fitted
from sdelens.paths.basis import Basis
from sdelens.paths.trajectories import Paths
from sdelens.seeds import generator
from sdelens.steering.writer import Here

MAX_DOCUMENTS, STEPS_PER_DOCUMENT = 512, 8
"""The most training documents that steps are drawn from, and the most steps of each."""


@dataclass(frozen=True, eq=False)
class TrainingIncrements:
    """Training steps as displacements in the data's coordinates."""

    drift: Float[Tensor, "step dim"]
    """m(X) - X."""
    noise: Float[Tensor, "step dim"]
    """X' - m(X)."""

    @classmethod
    @torch.no_grad()
    def of(cls, fitted: Fitted, train: Paths, *, seed: int) -> "TrainingIncrements":
        """Draws documents from all training documents, and steps from all steps of each."""
        basis, random, parts = fitted.basis, generator(seed, "steps"), []
        documents = torch.unique(torch.cat([block.document.cpu() for block in train]))
        sample = documents[torch.randperm(len(documents), generator=random)[:MAX_DOCUMENTS]]
        for block in pieces(fitted.encoded(train.select(sample.tolist()))):
            steps = sampled_steps(block.steps.cpu(), random).to(block.mask.device)
            mean = fitted.law.predict(past(block)).mean[steps]
            t = block.times.expand(block.mask.shape)[:, :-1][steps]
            moving = (basis.mean_at(t + fitted.dt) - basis.mean_at(t)).to(mean)
            drift = (mean - block.states[:, :-1][steps]) @ basis.decoder + moving
            noise = (block.states[:, 1:][steps] - mean) @ basis.decoder
            parts.append(torch.stack([drift, noise]).cpu())
        drift, noise = torch.cat(parts, dim=1)
        return cls(drift, noise)


def sampled_steps(
    steps: Bool[Tensor, "path step"], random: torch.Generator
) -> Bool[Tensor, "path step"]:
    """`STEPS_PER_DOCUMENT` uniformly drawn steps of each path, or all if there are fewer."""
    keys = torch.rand(steps.shape, generator=random).masked_fill(~steps, torch.inf)
    rank = keys.argsort(dim=1).argsort(dim=1)
    return steps & (rank < STEPS_PER_DOCUMENT)


@dataclass(frozen=True, eq=False)
class ToMean:
    """Towards the mean training state, and away from it."""

    basis: Basis

    def drift(self, here: Here) -> Float[Tensor, "row dim"]:
        return self._mean(here, 1) - here.x

    def noise(self, here: Here) -> Float[Tensor, "row dim"]:
        return here.x - self._mean(here, 0)

    def _mean(self, here: Here, ahead: int) -> Float[Tensor, "row dim"]:
        time = here.tokens.shape[1] - 1 + ahead
        return self.basis.mean_at(here.x.new_full((len(here.x),), time)).to(here.x)


@dataclass(frozen=True, eq=False)
class OtherTokens:
    """The drift of another training token, and the noise of another training step."""

    steps: TrainingIncrements
    seed: int

    def drift(self, here: Here) -> Float[Tensor, "row dim"]:
        return self._sample(self.steps.drift, here)

    def noise(self, here: Here) -> Float[Tensor, "row dim"]:
        return self._sample(self.steps.noise, here)

    def _sample(self, values: Float[Tensor, "step dim"], here: Here) -> Float[Tensor, "row dim"]:
        def draw(random: torch.Generator) -> Tensor:
            return values[torch.randint(len(values), (), generator=random)]

        return by_text(here, draw, self.seed)


@dataclass(frozen=True, eq=False)
class IncrementDraws:
    """Draws from the normal distribution with the covariance of training increments."""

    centred: Float[Tensor, "step dim"]
    seed: int

    @classmethod
    def of(cls, steps: TrainingIncrements, *, seed: int) -> "IncrementDraws":
        """From the centred increments: a normal mixture of them has their covariance."""
        increments = steps.drift + steps.noise
        return cls(increments - increments.mean(0), seed)

    def drift(self, here: Here) -> Float[Tensor, "row dim"]:
        return self._draw(here)

    def noise(self, here: Here) -> Float[Tensor, "row dim"]:
        return self._draw(here)

    def _draw(self, here: Here) -> Float[Tensor, "row dim"]:
        count = len(self.centred)
        weights = by_text(here, lambda r: torch.randn(count, generator=r), self.seed)
        draw: Tensor = weights @ self.centred / max(1, count - 1) ** 0.5
        return draw


def by_text(here: Here, draw: Callable[[torch.Generator], Tensor], seed: int) -> Tensor:
    """One draw for each text at this position, the same for all rows of the text."""
    position = here.tokens.shape[1] - 1
    texts, row = torch.unique(here.number, return_inverse=True)
    return torch.stack([draw(generator(seed, position, k)) for k in texts.tolist()])[row]
