"""Estimates with standard errors and 95% intervals.

Every interval over documents is made here or by `Ratio.ends`. From fewer than `FEWEST` documents
there is none: the ends are NaN, which no comparison with a threshold accepts.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.ratio import FEWEST, Ratios
from sdelens.evidence.student import student


@dataclass(frozen=True, eq=False)
class Interval:
    """Estimates with standard errors and 95% intervals; NaN where these are unknown."""

    value: Float[Tensor, "*series"]
    stderr: Float[Tensor, "*series"]
    low: Float[Tensor, "*series"]
    high: Float[Tensor, "*series"]

    @classmethod
    def unknown(cls, value: Float[Tensor, "*series"]) -> "Interval":
        """Values with unknown errors."""
        nothing = torch.full_like(value, torch.nan)
        return cls(value, nothing, nothing, nothing)

    @classmethod
    def ratio(
        cls, above: Float[Tensor, "*series unit"], below: Float[Tensor, "*#series unit"]
    ) -> "Interval":
        """Ratios of two sums over documents, by Student's t corrected for skewness (`Ratios`)."""
        found = Ratios.of(above, below)
        return cls(found.value, found.stderr, *found.ends())

    @classmethod
    def student(
        cls, value: Float[Tensor, "*series"], stderr: Float[Tensor, "*series"], groups: int
    ) -> "Interval":
        """Symmetric intervals by Student's t, from standard errors over `groups` groups."""
        margin = student(0.975, groups) * stderr
        return cls(value, stderr, value - margin, value + margin)

    @classmethod
    def stack(cls, intervals: Iterable["Interval"]) -> "Interval":
        """Stack intervals along a new first axis."""
        ends = zip(*(interval.tensors().values() for interval in intervals), strict=True)
        return cls(*map(torch.stack, ends))

    def over(self, units: int) -> "Interval":
        """The interval, without ends if there are fewer than `FEWEST` documents.

        >>> Interval.student(torch.zeros(()), torch.ones(()), groups=6).over(9).low
        tensor(nan)
        """
        if units >= FEWEST:
            return self
        nothing = torch.full_like(self.value, torch.nan)
        return Interval(self.value, self.stderr, nothing, nothing)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Interval":
        """Apply a selection, a change of shape or a positive factor to all four tensors.

        >>> Interval.unknown(torch.tensor(0.5)).map(lambda end: 100 * end).value
        tensor(50.)
        """
        return Interval(*map(function, self.tensors().values()))

    def increasing(self, function: Callable[[Tensor], Tensor]) -> "Interval":
        """Apply an increasing function to the values and both ends; the errors become unknown.

        >>> Interval.unknown(torch.tensor(8.0)).increasing(torch.log2).value
        tensor(3.)
        """
        unknown = torch.full_like(self.stderr, torch.nan)
        return Interval(function(self.value), unknown, function(self.low), function(self.high))

    def sqrt(self) -> "Interval":
        """Square roots of the values and of both ends, with errors by the delta method."""
        value = self.value.sqrt()
        low, high = (end.clamp(min=0).sqrt() for end in (self.low, self.high))
        return Interval(value, self.stderr / (2 * value), low, high)

    def __getitem__(self, index: int | slice | list[int] | tuple[int | slice, ...]) -> "Interval":
        return self.map(lambda end: end[index])

    def __neg__(self) -> "Interval":
        return Interval(-self.value, self.stderr, -self.high, -self.low)

    def __rsub__(self, whole: float) -> "Interval":
        return Interval(whole - self.value, self.stderr, whole - self.high, whole - self.low)

    def tensors(self) -> dict[str, Tensor]:
        """The four tensors by name."""
        return dict(vars(self))
