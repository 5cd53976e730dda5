"""The colours of a `Strip`: tokens coloured by a value."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from sdelens.report import Strip
from sdelens.wording import visible


@dataclass(frozen=True)
class Cell:
    """One coloured token."""

    text: str
    title: str
    kind: str
    """``above`` or ``below`` zero, or ``none`` without a value."""
    strength: str
    """The strength of the colour, from 0 to 1."""
    breaks: bool
    """Whether a line ends here."""


@dataclass(frozen=True)
class ColouredStrip:
    """A strip with its colour scale: two-sided around zero, or one-sided."""

    strip: Strip

    @property
    def _finite(self) -> list[float]:
        values = self.strip.scale or self.strip.values
        return [value for value in values if math.isfinite(value)] or [0.0]

    @property
    def signed(self) -> bool:
        """Whether values lie on both sides of zero."""
        return min(self._finite) < 0 < max(self._finite)

    @property
    def ends(self) -> tuple[float, float]:
        """The values at the ends of the scale."""
        if self.signed:
            largest = max(map(abs, self._finite))
            return -largest, largest
        return min(self._finite), max(self._finite)

    @property
    def legend(self) -> tuple[str, ...]:
        """The numbers below the scale."""
        low, high = self.ends
        return (f"{low:.3g}", "0", f"{high:.3g}") if self.signed else (f"{low:.3g}", f"{high:.3g}")

    @property
    def cells(self) -> Iterator[Cell]:
        """The tokens in order."""
        pairs = zip(self.strip.tokens, self.strip.values, strict=True)
        return (self._cell(token, value) for token, value in pairs)

    def _cell(self, token: str, value: float) -> Cell:
        low, high = self.ends
        known = math.isfinite(value)
        share = 0.0
        if known and high > low:
            share = abs(value) / high if self.signed else (value - low) / (high - low)
        return Cell(
            text=visible(token) or "∅",
            title=f"{value:.4g} {self.strip.unit}".rstrip() if known else "no value",
            kind=("below" if self.signed and value < 0 else "above") if known else "none",
            strength=f"{share:.3f}",
            breaks="\n" in token,
        )
