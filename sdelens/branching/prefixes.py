"""Documents, and the prefixes of them to evaluate."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.fitting.fitted import Fitted
from sdelens.paths.documents import Documents
from sdelens.paths.trajectories import Trajectories


@dataclass(frozen=True, eq=False)
class Prefixes:
    """Documents with their numbers in the run and the position where their paths start."""

    documents: Documents
    numbers: Int[Tensor, " document"]
    recorded: Int[Tensor, " document"]
    """The first position whose state belongs to the path, where the first prefix ends."""
    unit: Int[Tensor, " document"]
    """The resampling unit of each document for standard errors, numbered from 0."""

    @classmethod
    def all_of(cls, documents: Documents, *, skip_first: int = 1) -> "Prefixes":
        """Every prefix of every document; each document is its own unit."""
        numbers = torch.arange(len(documents))
        start = documents.start.clamp(min=skip_first)
        return cls(documents, numbers, start, numbers)

    @property
    def units(self) -> int:
        """Number of units."""
        return int(self.unit.max()) + 1

    def inside(
        self, rows: Int[Tensor, " document"], at: Int[Tensor, " position"]
    ) -> Bool[Tensor, "document position"]:
        """Whether the prefix that ends at each position is wanted and has a next token."""
        before_last = at < self.documents.lengths[rows, None] - 1
        found: Tensor = before_last & (at >= self.recorded[rows, None])
        return found

    def path(
        self,
        rows: Int[Tensor, " document"],
        states: Float[Tensor, "document time dim"],
        fitted: Fitted,
    ) -> Trajectories:
        """States of the documents `rows` as paths in the latent coordinates of a fit."""
        time = torch.arange(states.shape[1])
        ends = self.recorded[rows, None], self.documents.lengths[rows, None]
        mask = (time >= ends[0]) & (time < ends[1])
        tokens = self.documents.padded()[rows, : states.shape[1]]
        raw = Trajectories(states, mask, time[None].float(), tokens, rows)
        (block,) = fitted.basis.view(raw)
        return block
