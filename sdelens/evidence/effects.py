"""How large a property is, how sure that is over documents, and what could have been seen."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from jaxtyping import Float
from torch import Tensor

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
        return self.value + self.margin

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
        return self.threshold + self.margin + NormalDist().inv_cdf(POWER) * self.stderr

    @property
    def interval(self) -> str:
        """The ends of the interval."""
        return f"[{self.low:.3f}, {self.high:.3f}]"

    def __str__(self) -> str:
        return f"{self.name} {self.value:.3f} {self.interval}"


def student(probability: float, groups: int) -> float:
    """The quantile of Student's t with `groups` - 1 degrees of freedom.

    By the expansion around the normal one (Abramowitz and Stegun 26.7.5).

    >>> [round(student(0.975, n), 2) for n in (6, 20, 1000)]
    [2.57, 2.09, 1.96]
    """
    z, v = NormalDist().inv_cdf(probability), max(1, groups - 1)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    series: float = sum(term / v**power for power, term in enumerate(terms, start=1))
    return z + series


@dataclass(frozen=True)
class Ratio:
    """A ratio of sums over documents, with its error by linearisation (Cochran 1977, 6.4)."""

    value: float
    stderr: float
    groups: int

    @classmethod
    def of(cls, above: Float[Tensor, " group"], below: Float[Tensor, " group"]) -> "Ratio":
        """Documents with nothing below do not count."""
        groups, total = int((below > 0).sum()), float(below.sum())
        value = float(above.sum()) / total
        spread = float((above - value * below).square().sum()) * groups / max(groups - 1, 1)
        return cls(value, math.sqrt(spread) / total, groups)


def summed(
    values: Float[Tensor, " row"], group: Tensor, groups: int
) -> tuple[Float[Tensor, " group"], Float[Tensor, " group"]]:
    """The sum of the values of each group, and how many they are."""
    zeros = torch.zeros(groups, dtype=torch.float64, device=values.device)
    above = zeros.index_add(0, group, values.double())
    return above.cpu(), zeros.index_add(0, group, torch.ones_like(values).double()).cpu()


def paired_gain(
    name: str,
    gains: Float[Tensor, " row"],
    group: Tensor,
    groups: int,
    threshold: float,
) -> Effect:
    """The mean of what each transition gains, in nats per dimension."""
    ratio = Ratio.of(*summed(gains, group, groups))
    return Effect(name, ratio.value, ratio.stderr, ratio.groups, threshold)
