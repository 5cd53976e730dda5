r"""Agreement between the trace of a fit's noise and the model's own, over prefixes.

All statistics are functions of sums over documents; errors come from resampling documents.
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
"""Bands of prefixes by the fitted noise."""
MAX_UNDEFINED = 0.025
"""The largest share of undefined replicates; with more there is no estimate."""


@dataclass(frozen=True, eq=False)
class TraceAgreement:
    """Agreement of traces at one layer."""

    noise: NoiseComparison
    unit: Int[Tensor, " prefix"]
    bootstrap: Bootstrap

    @property
    def constant(self) -> bool:
        """Whether the fitted noise is the same everywhere."""
        return float(self.noise.fitted.std()) < 1e-6 * float(self.noise.fitted.mean())

    def ratio(self) -> Interval:
        r""":math:`\mathrm{tr}\,\Sigma` over :math:`\mathrm{tr}\,S^*+|m^*-m|^2`: 1 if right."""
        fitted, true = self._sums(torch.stack([self.noise.fitted, self.noise.total]))
        return Interval.ratio(fitted, true)

    def correlation(self) -> Interval:
        """The correlation of fitted and true noise, corrected for the branches' error.

        NaN without two independent branches, and where their covariance, which is the variance
        of the truth, is not significantly positive.
        """
        first, second = self.noise.paired - self.noise.paired.mean()
        fitted = self.noise.fitted - self.noise.fitted.mean()
        mean = (first + second) / 2
        products = (fitted.square(), first * second, fitted * mean)
        columns = torch.stack([torch.ones_like(first), fitted, first, second, *products])
        return self._interval(_correlation, self._sums(columns))

    def line(self, truth: str) -> Interval:
        """Slope and intercept of log `truth` on log fitted noise, through bands of the latter.

        NaN where a band's truth is not significantly positive: leaving such bands out would
        select by the outcome.
        """
        order = self.noise.fitted.argsort()
        bands = order.tensor_split(min(BANDS, len(order)))
        fitted, true = self.noise.fitted, getattr(self.noise, truth)
        columns = torch.stack([torch.ones_like(fitted), fitted, true])
        sums = [self._sums(columns[:, band], self.unit[band]) for band in bands]
        return self._interval(_line, torch.stack(sums, 1))

    def _sums(
        self, values: Float[Tensor, "series some"], unit: Int[Tensor, " some"] | None = None
    ) -> Float[Tensor, "series unit"]:
        unit = self.unit if unit is None else unit
        return by_unit(values, unit, self.bootstrap.weights.shape[1])

    def _interval(
        self, function: Callable[[Tensor], Tensor], sums: Float[Tensor, "*series unit"]
    ) -> Interval:
        value = function(sums.sum(-1))
        replicates = function(sums @ self.bootstrap.weights.mT)
        known = replicates.isnan().double().mean(-1) <= MAX_UNDEFINED
        return self.bootstrap.interval(value.where(known, torch.nan), replicates)


def _correlation(sums: Float[Tensor, "moment *replicate"]) -> Float[Tensor, "*replicate"]:
    fitted, first, second, square, product, cross = sums[1:] / sums[0]
    true_variance = product - first * second
    covariance = cross - fitted * (first + second) / 2
    variances = (square - fitted.square()) * true_variance.where(true_variance > 0, torch.nan)
    correlation: Tensor = covariance / variances.sqrt()
    return correlation


def _line(sums: Float[Tensor, "moment band *replicate"]) -> Float[Tensor, "line *replicate"]:
    count, fitted, true = sums
    x, y = (fitted / count).log(), (true.where(true > 0, torch.nan) / count).log()
    centred = x - x.mean(0)
    slope = (centred * (y - y.mean(0))).sum(0) / centred.square().sum(0)
    return torch.stack([slope, y.mean(0) - slope * x.mean(0)])
