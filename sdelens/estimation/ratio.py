r"""Ratios of sums over documents, with errors and intervals from their influence values.

With :math:`\hat r=\sum a_i/\sum b_i` and :math:`w_i=a_i-\hat r b_i`, the standard error s is
that of the mean of the influence values :math:`w_i/\bar b` (Cochran 1977, 6.4). The distribution
of :math:`T=(\hat r-r)/s` is skewed, by the skewness :math:`\gamma` of w and by
:math:`c=E[wb]/(\bar b\,\mathrm{sd}\,w)`, since residuals are evaluated at the estimate. To second
order :math:`g(T)=T+AT^2+A^2T^3/3+B` has no skewness, where :math:`A=(\gamma/3-c)/\sqrt n` and
:math:`B=\gamma/6\sqrt n` (Hall 1992, "On the removal of skewness by transformation", for
:math:`c=0`), and the interval is :math:`\hat r-s\,g^{-1}(\pm t)` with t the quantile of Student's
distribution with n - 2 degrees of freedom. A mean is a ratio with equal denominators, where
:math:`c=0`. `docs/validation.md` has its coverage beside that of other methods.
"""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int
from scipy.special import stdtrit
from torch import Tensor

FEWEST = 10
"""Fewest units, such as held-out documents, from which an interval or a conclusion follows."""


@dataclass(frozen=True, eq=False)
class Ratios:
    """Ratios of sums over units, one for each series; errors are NaN for a single unit."""

    value: Float[Tensor, "*series"]
    stderr: Float[Tensor, "*series"]
    units: Int[Tensor, "*series"]
    curvature: Float[Tensor, "*series"]
    """A of the transformation that removes the skewness."""
    shift: Float[Tensor, "*series"]
    """B of the transformation that removes the skewness."""

    @classmethod
    def of(
        cls, above: Float[Tensor, "*series unit"], below: Float[Tensor, "*#series unit"]
    ) -> "Ratios":
        """Ratios of the sums; units with a zero denominator are not counted."""
        above, below = above.double(), below.double().expand(above.shape)
        units = (below > 0).sum(-1)
        n = units.double()
        size = below.sum(-1) / n
        value = above.sum(-1) / below.sum(-1)
        left = above - value[..., None] * below
        variance = left.square().sum(-1) / n
        stderr = (variance / (n - 1)).sqrt() / size
        few = n.clamp(min=3)  # of fewer units no skewness is estimated
        skewness = left.pow(3).sum(-1) / n / variance.pow(1.5)
        skewness = skewness * (few * (few - 1)).sqrt() / (few - 2)
        coupling = (left * below).sum(-1) / (few - 2) / (size * variance.sqrt())
        # without any spread there is no skewness
        skewness, coupling = (part.nan_to_num(0, 0, 0) for part in (skewness, coupling))
        root = n.sqrt()
        return cls(
            value,
            stderr.where(units > 1, torch.nan),
            units,
            (skewness / 3 - coupling) / root,
            skewness / (6 * root),
        )

    def ends(
        self, probability: float = 0.975
    ) -> tuple[Float[Tensor, "*series"], Float[Tensor, "*series"]]:
        """Ends of the interval with this probability below the upper one; NaN below `FEWEST`."""
        quantile = torch.tensor(
            [_student(n - 2, probability) for n in self.units.flatten().tolist()],
            dtype=torch.float64,
        ).view(self.value.shape)
        low = self.value - self.stderr * self._untransformed(quantile)
        return low, self.value - self.stderr * self._untransformed(-quantile)

    def _untransformed(self, y: Float[Tensor, "*series"]) -> Float[Tensor, "*series"]:
        """The T at which the transformation has this value."""
        cube = 1 + 3 * self.curvature * (y - self.shift)
        root = cube.sign() * cube.abs().pow(1 / 3)
        flat = self.curvature.abs() < 1e-9
        return ((root - 1) / self.curvature.where(~flat, 1.0)).where(~flat, y - self.shift)


@cache
def _student(degrees: int, probability: float) -> float:
    """Quantile of Student's t; NaN for fewer than `FEWEST` units."""
    return float(stdtrit(degrees, probability)) if degrees + 2 >= FEWEST else torch.nan


@dataclass(frozen=True)
class Ratio:
    """A ratio of sums with its standard error by linearisation."""

    value: float
    stderr: float
    groups: int
    curvature: float = 0.0
    shift: float = 0.0

    @classmethod
    def of(cls, above: Float[Tensor, " group"], below: Float[Tensor, " group"]) -> "Ratio":
        """Ratio of the sums; groups with a zero denominator are not counted in `groups`."""
        found = Ratios.of(above, below)
        parts = (found.value, found.stderr.nan_to_num(0.0), found.curvature, found.shift)
        value, stderr, curvature, shift = (float(part) for part in parts)
        return cls(value, stderr, int(found.units), curvature, shift)

    def ends(self, probability: float = 0.975) -> tuple[float, float]:
        """Ends of the interval, as `Ratios.ends`.

        >>> low, high = Ratio.of(torch.arange(20.0), torch.ones(20)).ends()
        >>> round(low, 2), round(high, 2)
        (6.72, 12.28)
        """
        value, stderr, *skew = torch.tensor(
            [self.value, self.stderr, self.curvature, self.shift], dtype=torch.float64
        )
        low, high = Ratios(value, stderr, torch.tensor(self.groups), *skew).ends(probability)
        return float(low), float(high)

    def __rsub__(self, whole: float) -> "Ratio":
        return Ratio(whole - self.value, self.stderr, self.groups, -self.curvature, -self.shift)


def summed(
    values: Float[Tensor, " row"], group: Tensor, groups: int
) -> tuple[Float[Tensor, " group"], Float[Tensor, " group"]]:
    """Sum and number of the values in each group."""
    zeros = torch.zeros(groups, dtype=torch.float64, device=values.device)
    above = zeros.index_add(0, group, values.double())
    return above.cpu(), zeros.index_add(0, group, torch.ones_like(values).double()).cpu()
