"""Means over places of texts, with errors over texts."""

import math
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from sdelens.estimation.ratio import Ratio, summed
from sdelens.evidence.student import student
from sdelens.report import Estimate


@dataclass(frozen=True)
class DocumentMean:
    """A mean over places, its standard error over texts where there are several."""

    value: float
    stderr: float | None
    texts: int

    @classmethod
    def of(cls, values: Float[Tensor, " place"], text: Int[Tensor, " place"]) -> "DocumentMean":
        """Of one number for each place; places without one (NaN) do not count."""
        seen = values.isfinite()
        if not seen.any():
            return cls(float("nan"), None, 0)
        return cls.ratio(*summed(values[seen], text[seen], int(text.max()) + 1))

    @classmethod
    def ratio(cls, above: Float[Tensor, " text"], below: Float[Tensor, " text"]) -> "DocumentMean":
        """Of two sums for each text, of which the second is not zero everywhere."""
        ratio = Ratio.of(above, below)
        return cls(ratio.value, ratio.stderr if ratio.groups > 1 else None, ratio.groups)

    @property
    def ends(self) -> tuple[float, float]:
        """Of the 95% interval; the value twice where there is one text."""
        return self.together(1)

    def together(self, comparisons: int) -> tuple[float, float]:
        """The ends of one of so many intervals that hold all at once in 95% (Bonferroni)."""
        margin = student(1 - 0.025 / comparisons, self.texts) * (self.stderr or 0.0)
        return self.value - margin, self.value + margin

    def differs(self, level: float) -> bool:
        """Whether the 95% interval leaves out this level."""
        low, high = self.ends
        return self.stderr is not None and not low <= level <= high

    def estimate(self, name: str, unit: str) -> Estimate:
        """By name, with how many texts it comes from."""
        return Estimate(name, self.value, self.stderr, f"{unit} (n = {self.texts})".lstrip())

    @property
    def percent(self) -> str:
        """As a share, with its interval."""
        low, high = (min(max(end, 0.0), 1.0) for end in self.ends)
        within = "" if self.stderr is None else f" [{low:.0%}, {high:.0%}]"
        return f"{self.value:.0%}{within}"

    def __str__(self) -> str:
        if not self.stderr:
            return f"{self.value:.3g}"
        digits = max(0, 1 - math.floor(math.log10(self.stderr)))
        # adding zero makes of a rounded -0.0 a plain one
        low, high = (round(end, digits) + 0.0 for end in self.ends)
        return f"{self.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
