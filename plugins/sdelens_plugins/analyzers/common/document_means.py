"""Means over positions of documents, with standard errors over documents."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.estimation.ratio import Ratio, summed
from sdelens.evidence.student import student
from sdelens.report import Estimate, Layer


@dataclass(frozen=True)
class DocumentMean:
    """A mean over positions and its standard error over documents; None for a single document."""

    value: float
    stderr: float | None
    documents: int

    @classmethod
    def of(
        cls, values: Float[Tensor, " place"], document: Int[Tensor, " place"]
    ) -> "DocumentMean":
        """The mean of one value per position; missing values (NaN) do not count."""
        known = values.isfinite()
        if not known.any():
            return cls(float("nan"), None, 0)
        return cls.ratio(*summed(values[known], document[known], int(document.max()) + 1))

    @classmethod
    def ratio(
        cls, numerator: Float[Tensor, " document"], denominator: Float[Tensor, " document"]
    ) -> "DocumentMean":
        """The ratio of two sums per document; the second must not be zero everywhere."""
        ratio = Ratio.of(numerator, denominator)
        return cls(ratio.value, ratio.stderr if ratio.groups > 1 else None, ratio.groups)

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the 95% interval; the value twice for a single document."""
        return self.simultaneous_ends(1)

    def simultaneous_ends(self, comparisons: int) -> tuple[float, float]:
        """The ends of one of several intervals that hold together with 95% (Bonferroni)."""
        margin = student(1 - 0.025 / comparisons, self.documents) * (self.stderr or 0.0)
        return self.value - margin, self.value + margin

    def differs_from(self, level: float) -> bool:
        """Whether the 95% interval excludes this level."""
        low, high = self.ends
        return self.stderr is not None and not low <= level <= high

    def estimate(self, name: str, unit: str) -> Estimate:
        """The mean as an estimate, with the number of documents in its unit."""
        return Estimate(name, self.value, self.stderr, f"{unit} (n = {self.documents})".lstrip())

    @property
    def percent(self) -> str:
        """The mean as a percentage with its 95% interval."""
        low, high = (min(max(end, 0.0), 1.0) for end in self.ends)
        interval = "" if self.stderr is None else f" [{low:.0%}, {high:.0%}]"
        return f"{self.value:.0%}{interval}"

    def __str__(self) -> str:
        if not self.stderr:
            return f"{self.value:.3g}"
        digits = max(0, 1 - math.floor(math.log10(self.stderr)))
        # adding zero turns a rounded -0.0 into 0.0
        low, high = (round(end, digits) + 0.0 for end in self.ends)
        return f"{self.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def mean_bars(means: Sequence[DocumentMean], words: Sequence[str], label: str = "") -> Layer:
    """Bars of means with their 95% intervals."""
    ends = torch.tensor([mean.ends for mean in means], dtype=torch.float64)
    values = torch.tensor([mean.value for mean in means], dtype=torch.float64)
    x = torch.arange(len(means)).double()
    columns = {"x": x, "y": values, "low": ends[:, 0], "high": ends[:, 1]}
    return Layer("bars", columns, label, words=tuple(words))
