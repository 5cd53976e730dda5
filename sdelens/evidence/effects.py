"""Effect sizes with simultaneous intervals over documents and minimum detectable effects."""

import math
from dataclasses import dataclass
from statistics import NormalDist

from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.ratio import FEWEST, Ratio, summed
from sdelens.evidence.student import student
from sdelens.wording import aligned

SIZE = 0.01
"""Family-wise error rate over all properties."""
PROPERTIES = 14
"""Number of properties tested: gain, lack of fit, change of the mean and of the noise along the
path, memory of the mean and of the scale, three differences between paths, jumps, tails, mixture,
orientation and lagged moments. By Bonferroni's correction each is tested at level
`SIZE / PROPERTIES`."""
POWER = 0.8
"""Probability of showing an effect of the minimum detectable size."""


@dataclass(frozen=True)
class Effect:
    """Estimate with a simultaneous interval and the threshold above which it matters.

    The effect is shown if the whole interval lies above the threshold, absent if it lies below,
    and undecided otherwise.
    """

    name: str
    value: float
    stderr: float
    groups: int
    """Number of groups of documents behind the estimate: the sample size."""
    threshold: float
    tests: int = PROPERTIES
    """Number of intervals that share the error rate `SIZE`."""
    price: float = 0.0
    """Possible downward bias of the value, due to estimated coefficients; added to `high`."""
    unit: str = "nats per dimension"
    tolerance: float | None = None
    """Size below which the effect counts as absent; None for the threshold."""

    @property
    def margin(self) -> float:
        """Half-width of the two-sided interval; infinite with fewer than `FEWEST` groups."""
        if self.groups < FEWEST:
            return math.inf
        return student(1 - SIZE / (2 * self.tests), self.groups) * self.stderr

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.value - self.margin

    @property
    def high(self) -> float:
        """Upper end of the interval, including `price`."""
        return self.value + self.margin + self.price

    @property
    def shown(self) -> bool:
        """Whether the interval lies above the threshold."""
        return self.low > self.threshold

    @property
    def absent(self) -> bool:
        """Whether the interval lies below `bound`."""
        return self.high < self.bound

    @property
    def bound(self) -> float:
        """Size below which the effect counts as absent."""
        return self.threshold if self.tolerance is None else self.tolerance

    @property
    def detectable(self) -> float:
        """Minimum detectable effect: the true value shown with probability `POWER`."""
        luck = NormalDist().inv_cdf(POWER) * self.stderr
        return self.threshold + self.margin + self.price + luck

    @property
    def interval(self) -> str:
        """The interval as text."""
        _, error, low, high = self._numbers()
        return f"± {error}" if self.groups < FEWEST else f"[{low}, {high}]"

    def _numbers(self) -> list[str]:
        return aligned(self.value, self.stderr, self.low, self.high)

    def __str__(self) -> str:
        return f"{self.name} {self._numbers()[0]} {self.interval}"


def paired_gain(
    name: str,
    gains: Float[Tensor, " row"],
    group: Tensor,
    groups: int,
    threshold: float,
    price: float = 0.0,
) -> Effect:
    """Mean gain per transition in nats per dimension, with an error over groups of documents."""
    ratio = Ratio.of(*summed(gains, group, groups))
    return Effect(name, ratio.value, ratio.stderr, ratio.groups, threshold, price=price)
