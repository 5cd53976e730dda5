"""Documents, and which of their prefixes are asked for."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.fitting.fitted import Fitted
from sdelens.paths.documents import Documents
from sdelens.paths.trajectories import Trajectories


@dataclass(frozen=True, eq=False)
class Prefixes:
    """Documents with their numbers in the run, and where their prefixes begin to count."""

    documents: Documents
    numbers: Int[Tensor, " document"]
    recorded: Int[Tensor, " document"]
    """The first position whose state belongs to the path."""
    first: Int[Tensor, " document"]
    """The last position of the first prefix that is asked for."""
    unit: Int[Tensor, " document"]
    """What each is drawn with where errors are over documents, numbered from 0."""

    @classmethod
    def all_of(cls, documents: Documents, *, skip_first: int = 1) -> "Prefixes":
        """Every prefix of every document, each a unit of its own."""
        numbers = torch.arange(len(documents))
        start = documents.start.clamp(min=skip_first)
        return cls(documents, numbers, start, start, numbers)

    @property
    def units(self) -> int:
        """How many units there are."""
        return int(self.unit.max()) + 1

    def inside(
        self, rows: Int[Tensor, " document"], at: Int[Tensor, " position"]
    ) -> Bool[Tensor, "document position"]:
        """Whether the prefix that ends there is asked for, and its text goes on."""
        before_last = at < self.documents.lengths[rows, None] - 1
        found: Tensor = before_last & (at >= self.first[rows, None])
        return found

    def path(
        self,
        rows: Int[Tensor, " document"],
        states: Float[Tensor, "document time dim"],
        fitted: Fitted,
    ) -> Trajectories:
        """The states of some of them as paths in the latent coordinates of a fit."""
        time = torch.arange(states.shape[1])
        ends = self.recorded[rows, None], self.documents.lengths[rows, None]
        mask = (time >= ends[0]) & (time < ends[1])
        tokens = self.documents.padded()[rows, : states.shape[1]]
        raw = Trajectories(states, mask, time[None].float(), tokens, rows)
        (block,) = fitted.basis.view(raw)
        return block
