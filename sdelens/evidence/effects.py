"""How large a property is, how sure that is over documents, and what could have been seen."""

import math
from dataclasses import dataclass
from statistics import NormalDist

from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.ratio import Ratio, summed
from sdelens.evidence.student import student

SIZE = 0.01
"""How often, over all properties together, chance alone may show what is not there."""
PROPERTIES = 6
"""Gain, memory of the mean, memory of the scale, jumps, mixture, lagged moments: by Bonferroni's
inequality each has this share of `SIZE`."""
POWER = 0.8
"""How often an effect of the detectable size is shown."""


@dataclass(frozen=True)
class Effect:
    """An estimate with its simultaneous interval, beside the size from which on it matters.

    Nothing is said by the estimate alone: an effect is shown where the whole interval lies above
    the threshold, absent where it lies below, and open otherwise.
    """

    name: str
    value: float
    stderr: float
    groups: int
    """How many documents the estimate comes from."""
    threshold: float
    tests: int = PROPERTIES
    """Among how many intervals `SIZE` is divided."""
    price: float = 0.0
    """By how much the estimate may be too low, since what it is of had to be estimated."""
    unit: str = "nats per dimension"

    @property
    def margin(self) -> float:
        """Half of the two-sided interval; from fewer than two documents there is none."""
        if self.groups < 2:
            return math.inf
        return student(1 - SIZE / (2 * self.tests), self.groups) * self.stderr

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.value - self.margin

    @property
    def high(self) -> float:
        """The upper end."""
        return self.value + self.margin + self.price

    @property
    def shown(self) -> bool:
        """Whether the effect is above its threshold beyond doubt."""
        return self.low > self.threshold

    @property
    def absent(self) -> bool:
        """Whether it is below beyond doubt."""
        return self.high < self.threshold

    @property
    def detectable(self) -> float:
        """The minimum detectable effect: the true size that is shown with a chance of `POWER`."""
        luck = NormalDist().inv_cdf(POWER) * self.stderr
        return self.threshold + self.margin + self.price + luck

    @property
    def interval(self) -> str:
        """The ends of the interval."""
        return f"[{self.low:.3f}, {self.high:.3f}]"

    def __str__(self) -> str:
        return f"{self.name} {self.value:.3f} {self.interval}"


def paired_gain(
    name: str,
    gains: Float[Tensor, " row"],
    group: Tensor,
    groups: int,
    threshold: float,
    price: float = 0.0,
) -> Effect:
    """The mean of what each transition gains, in nats per dimension."""
    ratio = Ratio.of(*summed(gains, group, groups))
    return Effect(name, ratio.value, ratio.stderr, ratio.groups, threshold, price=price)
