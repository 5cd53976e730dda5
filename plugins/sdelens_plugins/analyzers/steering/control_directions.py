"""Displacements that a fit's own are held against: of other tokens, drawn, to the mean."""

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

DOCUMENTS, EACH = 512, 8
"""How many training documents steps are drawn from, and how many of each; at most."""


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
        """Drawn from all training documents, and from all steps of each that is drawn."""
        basis, random, found = fitted.basis, generator(seed, "steps"), []
        every = torch.unique(torch.cat([block.document.cpu() for block in train]))
        chosen = every[torch.randperm(len(every), generator=random)[:DOCUMENTS]].tolist()
        for block in pieces(fitted.encoded(train.select(chosen))):
            taken = drawn_of(block.steps.cpu(), random).to(block.mask.device)
            mean = fitted.law.predict(past(block)).mean[taken]
            t = block.times.expand(block.mask.shape)[:, :-1][taken]
            moving = basis.mean_at(t + fitted.dt) - basis.mean_at(t)
            drift = (mean - block.states[:, :-1][taken]) @ basis.decoder + moving
            noise = (block.states[:, 1:][taken] - mean) @ basis.decoder
            found.append(torch.stack([drift, noise]).cpu())
        drift, noise = torch.cat(found, dim=1)
        return cls(drift, noise)


def drawn_of(
    steps: Bool[Tensor, "path step"], random: torch.Generator
) -> Bool[Tensor, "path step"]:
    """So many of each path's steps, or all if there are fewer, each as likely."""
    keys = torch.rand(steps.shape, generator=random).masked_fill(~steps, torch.inf)
    rank = keys.argsort(dim=1).argsort(dim=1)
    return steps & (rank < EACH)


@dataclass(frozen=True, eq=False)
class ToMean:
    """Towards the mean training state, and away from it: what knows nothing of how states move."""

    basis: Basis

    def drift(self, here: Here) -> Float[Tensor, "row dim"]:
        return self._mean(here, 1) - here.x

    def noise(self, here: Here) -> Float[Tensor, "row dim"]:
        return here.x - self._mean(here, 0)

    def _mean(self, here: Here, ahead: int) -> Float[Tensor, "row dim"]:
        time = here.tokens.shape[1] - 1 + ahead
        return self.basis.mean_at(here.x.new_full((len(here.x),), time))


@dataclass(frozen=True, eq=False)
class Others:
    """In the place of a drift that of another token; of a noise that of another step."""

    steps: TrainingIncrements
    seed: int

    def drift(self, here: Here) -> Float[Tensor, "row dim"]:
        return self._one(self.steps.drift, here)

    def noise(self, here: Here) -> Float[Tensor, "row dim"]:
        return self._one(self.steps.noise, here)

    def _one(self, known: Float[Tensor, "step dim"], here: Here) -> Float[Tensor, "row dim"]:
        def draw(random: torch.Generator) -> Tensor:
            return known[torch.randint(len(known), (), generator=random)]

        return by_text(here, draw, self.seed)


@dataclass(frozen=True, eq=False)
class Increments:
    """Draws from the normal distribution with the covariance of training increments."""

    centred: Float[Tensor, "step dim"]
    seed: int

    @classmethod
    def of(cls, steps: TrainingIncrements, *, seed: int) -> "Increments":
        """Of these steps; a normal mixture of them has their covariance."""
        increments = steps.drift + steps.noise
        return cls(increments - increments.mean(0), seed)

    def drift(self, here: Here) -> Float[Tensor, "row dim"]:
        return self._drawn(here)

    def noise(self, here: Here) -> Float[Tensor, "row dim"]:
        return self._drawn(here)

    def _drawn(self, here: Here) -> Float[Tensor, "row dim"]:
        count = len(self.centred)
        weights = by_text(here, lambda r: torch.randn(count, generator=r), self.seed)
        drawn: Tensor = weights @ self.centred / max(1, count - 1) ** 0.5
        return drawn


def by_text(here: Here, draw: Callable[[torch.Generator], Tensor], seed: int) -> Tensor:
    """One draw for each text at this position, the same for all of its rows."""
    position = here.tokens.shape[1] - 1
    texts, row = torch.unique(here.number, return_inverse=True)
    return torch.stack([draw(generator(seed, position, k)) for k in texts.tolist()])[row]
