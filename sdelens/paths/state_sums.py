"""Mean and covariance of states in one pass, accurate far from zero."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.paths.trajectories import Trajectories, require_finite


@dataclass
class StateSums:
    """Counts and sums of the deviations of states from a reference at each time, in float64.

    The reference is the first state of each time, so a constant coordinate has no deviation at
    all, and squares of a coordinate far from zero do not cancel.
    """

    times: Float[Tensor, " time"]
    reference: Float[Tensor, "time dim"]
    count: Float[Tensor, " time"]
    first: Float[Tensor, "time dim"]
    second: Float[Tensor, "dim dim"]
    rounding: float
    """The relative rounding error of the states."""

    @classmethod
    def of(cls, blocks: Iterable[Trajectories]) -> "StateSums":
        """Sums over all observed states, in one pass."""
        sums: StateSums | None = None
        for block in blocks:
            require_finite(block)
            x = block.states[block.mask].double()
            t = block.times.expand(block.mask.shape)[block.mask]
            if sums is None:
                empty = x.new_zeros(0, x.shape[1])
                sums = cls(t[:0], empty, empty[:, 0], empty, empty.mT @ empty, 0.0)
            sums.add(t, x)
            sums.rounding = max(sums.rounding, torch.finfo(block.states.dtype).eps)
        if sums is None:
            raise ValueError("at least one block of paths is needed")
        return sums

    def add(self, t: Float[Tensor, " state"], x: Float[Tensor, "state dim"]) -> None:
        """Add states at their times."""
        known = torch.unique(torch.cat([self.times.to(t), t]))
        index, rows = (torch.searchsorted(known, each) for each in (t, self.times.to(t)))
        old = (self.reference, self.count, self.first)
        grown = [part.new_zeros(len(known), *part.shape[1:]) for part in old]
        for wide, part in zip(grown, old, strict=True):
            wide[rows] = part
        self.times, (self.reference, self.count, self.first) = known, grown
        order = torch.arange(len(t), device=t.device)
        earliest = torch.full_like(known, len(t), dtype=torch.long)
        earliest.scatter_reduce_(0, index, order, "amin")
        fresh = self.count == 0
        self.reference[fresh] = x[earliest[fresh]]
        away = x - self.reference[index]
        self.count.index_add_(0, index, torch.ones_like(x[:, 0]))
        self.first.index_add_(0, index, away)
        self.second += away.mT @ away

    def moments(self, center: str) -> tuple[Tensor, Tensor, Tensor]:
        """Times, means and the covariance about them, of all times together or of each."""
        total = self.count.sum()
        share, shift = self.count[:, None] / total, self.first / self.count[:, None]
        within = self.second / total - (share * shift).mT @ shift
        if center == "position":
            return self.times, self.reference + shift, within
        offset = self.reference - self.reference[:1] + shift
        mean = (share * offset).sum(0, keepdim=True)
        apart = offset - mean
        return self.times[:1], self.reference[:1] + mean, within + (share * apart).mT @ apart
