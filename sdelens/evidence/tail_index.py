r"""Hill's estimate of the tail index: which moments of the residuals exist.

If :math:`P(|w| > u) \sim u^{-\alpha}`, moments of order :math:`\alpha` and above do not exist. The
mean of :math:`\log(|w|/u)` over the values beyond u estimates :math:`1/\alpha` (Hill 1975). It is
0.14 for Gaussian residuals, whose tails are lighter than any power, because u is finite.
"""

from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.ratio import Ratio, summed
from sdelens.evidence.effects import Effect
from sdelens.evidence.process_class import HEAVY

OUTER = 0.99
"""Quantile beyond which a value belongs to the tail."""


def tail_index(residuals: Float[Tensor, "row dim"], group: Tensor, groups: int) -> Effect:
    r""":math:`1/\alpha` of the residuals, averaged over coordinates, with an error over groups."""
    size = residuals.abs().double()
    beyond = size[:: max(1, size.numel() // 8_000_000)].quantile(OUTER, dim=0)
    excess = (size / beyond.clamp(min=1e-30)).log().clamp(min=0.0)
    above, _ = summed(excess.sum(1), group, groups)
    below, _ = summed((excess > 0).double().sum(1), group, groups)
    ratio = Ratio.of(above, below)
    return Effect(
        "weight of the tails", ratio.value, ratio.stderr, ratio.groups, HEAVY, unit="1/alpha"
    )
