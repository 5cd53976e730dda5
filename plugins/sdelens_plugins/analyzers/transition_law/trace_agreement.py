r"""Whether the trace of a fit's noise follows that of the model's own, over prefixes.

Everything is a function of sums over documents, so that errors come of resampling these.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.branching.next_state_law import NoiseComparison
from sdelens.evidence.bootstrap import Bootstrap, by_unit
from sdelens.evidence.interval import Interval

BANDS = 10
"""Parts of the prefixes by the noise that the fit claims."""
UNKNOWN = 0.025
"""Of the replicates: where so many have no value, there is no interval, and no estimate."""


@dataclass(frozen=True, eq=False)
class TraceAgreement:
    """Of one layer."""

    noise: NoiseComparison
    unit: Int[Tensor, " prefix"]
    bootstrap: Bootstrap

    @property
    def constant(self) -> bool:
        """Whether the fit claims the same noise everywhere."""
        return float(self.noise.fitted.std()) < 1e-6 * float(self.noise.fitted.mean())

    def ratio(self) -> Interval:
        r""":math:`\mathrm{tr}\,\Sigma` over :math:`\mathrm{tr}\,S^*+|m^*-m|^2`: 1 if right."""
        claimed, true = self._sums(torch.stack([self.noise.fitted, self.noise.total]))
        return self.bootstrap.ratio(claimed, true)

    def correlation(self) -> Interval:
        """Of the claimed noise and the true total, corrected for the branches' error.

        NaN without two plain draws, and where their covariance, which is the variance of the
        truth, is not above zero for certain.
        """
        first, second = self.noise.paired - self.noise.paired.mean()
        claimed = self.noise.fitted - self.noise.fitted.mean()
        mean = (first + second) / 2
        products = (claimed.square(), first * second, claimed * mean)
        columns = torch.stack([torch.ones_like(first), claimed, first, second, *products])
        return self._interval(_correlated, self._sums(columns))

    def line(self, truth: str) -> Interval:
        """Slope and intercept of log ``truth`` on log claimed noise, through bands of the latter.

        NaN where a band's truth is not above zero for certain: to leave such bands out would be to
        choose by the outcome.
        """
        order = self.noise.fitted.argsort()
        bands = order.tensor_split(min(BANDS, len(order)))
        found = self.noise.fitted, getattr(self.noise, truth)
        columns = torch.stack([torch.ones_like(found[0]), *found])
        each = [self._sums(columns[:, band], self.unit[band]) for band in bands]
        return self._interval(_fitted, torch.stack(each, 1))

    def _sums(
        self, values: Float[Tensor, "series some"], unit: Int[Tensor, " some"] | None = None
    ) -> Float[Tensor, "series unit"]:
        own = self.unit if unit is None else unit
        return by_unit(values, own, self.bootstrap.weights.shape[1])

    def _interval(
        self, function: Callable[[Tensor], Tensor], sums: Float[Tensor, "*series unit"]
    ) -> Interval:
        value, drawn = function(sums.sum(-1)), function(sums @ self.bootstrap.weights.mT)
        known = drawn.isnan().double().mean(-1) <= UNKNOWN
        return self.bootstrap.interval(value.where(known, torch.nan), drawn)


def _correlated(sums: Float[Tensor, "moment *replicate"]) -> Float[Tensor, "*replicate"]:
    claimed, first, second, square, product, cross = sums[1:] / sums[0]
    shared = product - first * second
    own = cross - claimed * (first + second) / 2
    spread = (square - claimed.square()) * shared.where(shared > 0, torch.nan)
    found: Tensor = own / spread.sqrt()
    return found


def _fitted(sums: Float[Tensor, "moment band *replicate"]) -> Float[Tensor, "line *replicate"]:
    count, claimed, true = sums
    x, y = (claimed / count).log(), (true.where(true > 0, torch.nan) / count).log()
    off = x - x.mean(0)
    slope = (off * (y - y.mean(0))).sum(0) / off.square().sum(0)
    return torch.stack([slope, y.mean(0) - slope * x.mean(0)])
