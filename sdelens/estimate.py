"""A number with its standard error."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error and unit."""

    name: str
    value: float
    stderr: float | None = None
    unit: str = ""

    @property
    def number(self) -> str:
        """The value ± its error; the error has two digits, and the value as many decimals.

        >>> Estimate("gain", 0.07123, stderr=0.0123, unit="nats").number
        '0.071 ± 0.012'
        >>> Estimate("gain", 4.2071e-6, stderr=9.4e-7).number
        '(4.21 ± 0.94)e-06'
        """
        error = self.stderr
        if error is None or not math.isfinite(error) or error <= 0:
            return f"{self.value:.4g}"
        digits = max(0, 1 - math.floor(math.log10(error)))
        power = math.floor(math.log10(max(abs(self.value), error)))
        if power > -4:
            return f"{self.value:.{digits}f} ± {error:.{digits}f}"
        digits, unit = digits + power, 10.0**power  # avoid many leading zeros
        return f"({self.value / unit:.{digits}f} ± {error / unit:.{digits}f})e{power:03d}"

    def __str__(self) -> str:
        return f"{self.number} {self.unit}".rstrip()
