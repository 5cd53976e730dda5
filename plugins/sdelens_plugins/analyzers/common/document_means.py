"""Means over positions of documents, with standard errors over documents."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.estimation.ratio import Ratio, summed
from sdelens.evidence.interval import Interval
from sdelens.report import Estimate, Layer
from sdelens_plugins.analyzers.common.intervals import bars, percent_with_interval, with_interval


@dataclass(frozen=True)
class DocumentMean:
    """A mean over positions with its errors over documents."""

    found: Ratio

    @property
    def value(self) -> float:
        """The mean; NaN without documents."""
        return self.found.value

    @property
    def stderr(self) -> float | None:
        """The standard error over documents; None for a single document."""
        return self.found.stderr if self.documents > 1 else None

    @property
    def documents(self) -> int:
        """The number of documents."""
        return self.found.groups

    @classmethod
    def of(
        cls, values: Float[Tensor, " place"], document: Int[Tensor, " place"]
    ) -> "DocumentMean":
        """The mean of one value per position; missing values (NaN) do not count."""
        known = values.isfinite()
        if not known.any():
            return cls(Ratio(math.nan, math.nan, 0))
        return cls.ratio(*summed(values[known], document[known], int(document.max()) + 1))

    @classmethod
    def ratio(
        cls, numerator: Float[Tensor, " document"], denominator: Float[Tensor, " document"]
    ) -> "DocumentMean":
        """The ratio of two sums per document; the second must not be zero everywhere."""
        return cls(Ratio.of(numerator, denominator))

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the 95% interval; NaN from fewer than `FEWEST` documents."""
        return self.simultaneous_ends(1)

    @property
    def interval(self) -> Interval:
        """The mean with its error and the 95% interval; NaN where these are unknown."""
        stderr = math.nan if self.stderr is None else self.stderr
        numbers = (self.value, stderr, *self.ends)
        return Interval(*torch.tensor(numbers, dtype=torch.float64))

    def simultaneous_ends(self, comparisons: int) -> tuple[float, float]:
        """The ends of one of several intervals that hold together with 95% (Bonferroni)."""
        return self.found.ends(1 - 0.025 / comparisons)

    def differs_from(self, level: float) -> bool:
        """Whether the 95% interval excludes this level."""
        low, high = self.ends
        return level < low or level > high

    def estimate(self, name: str, unit: str) -> Estimate:
        """The mean as an estimate, with the number of documents in its unit."""
        return Estimate(name, self.value, self.stderr, f"{unit} (n = {self.documents})".lstrip())

    @property
    def percent(self) -> str:
        """The mean as a percentage with its 95% interval."""
        found = self.interval
        low, high = (end.clamp(0, 1) for end in (found.low, found.high))
        return percent_with_interval(Interval(found.value, found.stderr, low, high))

    def __str__(self) -> str:
        if not self.stderr:
            return f"{self.value:.3g}"
        return with_interval(self.interval, max(0, 1 - math.floor(math.log10(self.stderr))))


def mean_bars(means: Sequence[DocumentMean], words: Sequence[str], label: str = "") -> Layer:
    """Bars of means with their 95% intervals."""
    return replace(bars(Interval.stack(mean.interval for mean in means), words), label=label)
