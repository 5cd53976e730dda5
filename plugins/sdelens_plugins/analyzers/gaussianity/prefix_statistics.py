"""Means and quantiles over prefixes of the shape of the next-state law, by temperature."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.evidence.bootstrap import Bootstrap, by_unit
from sdelens.evidence.interval import Interval
from sdelens_plugins.analyzers.gaussianity.gaussian_divergence import GaussianDivergence
from sdelens_plugins.analyzers.gaussianity.next_states import PERMUTED, SERIES, NextStates
from sdelens_plugins.analyzers.gaussianity.prefix_sample import PrefixSampling

MIN_VARIANCE = 1e-6
"""Training variances per dimension: a law with less is a single token and has no shape."""
ALL_PREFIXES = ("listed", "exponential", "collision", "variance")
"""Series that also exist after prefixes with a single next token."""
MEANS = tuple(name for name in SERIES if name != "kurtosis")
"""Series that are averaged over prefixes; the kurtosis has quartiles."""
PERMUTED_MEANS = ("share1", "gap")
"""Series of permuted weights that are averaged over prefixes."""
QUARTILES = (0.5, 0.25, 0.75)


@dataclass(frozen=True, eq=False)
class PrefixStatistics:
    """Statistics over the prefixes of one layer, with intervals over documents."""

    sampling: PrefixSampling
    units: int
    states: NextStates
    seed: int

    @cached_property
    def has_shape(self) -> Bool[Tensor, "temperature prefix"]:
        """Whether the law has more than one next state.

        Raises `UsageError` if no law at the run's own temperature has.
        """
        has_shape: Tensor = self.states.of("variance") >= MIN_VARIANCE
        if not has_shape[self.own].any():
            raise UsageError(
                "a law of the next state with variance is needed, but after all prefixes one "
                "token is certain: give more prefixes"
            )
        return has_shape

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """The draws of documents, shared by all quantiles."""
        return Bootstrap.of(self._sums(torch.ones(len(self.states.unit))), seed=self.seed)

    def _sums(self, values: Float[Tensor, "*series prefix"]) -> Float[Tensor, "*series unit"]:
        return by_unit(values, self.states.unit, self.units)

    def _mean(
        self,
        values: Tensor,
        where: Bool[Tensor, "*series prefix"],
        denominator: Tensor | None = None,
    ) -> Interval:
        """The mean over some of the prefixes, or the ratio of two sums over them."""
        count = torch.ones_like(values) if denominator is None else denominator
        sums = (self._sums(part.double().where(where, 0.0)) for part in (values, count))
        return Interval.ratio(*sums)

    @cached_property
    def means(self) -> dict[str, Interval]:
        """Means over prefixes by temperature; those of shapes, over prefixes that have one."""
        everywhere = torch.ones_like(self.has_shape)
        return {
            name: self._mean(
                self.states.of(name), everywhere if name in ALL_PREFIXES else self.has_shape
            )
            for name in MEANS
        }

    @cached_property
    def kurtosis(self) -> dict[float, Interval]:
        """Quartiles of the excess kurtosis over prefixes, by temperature."""
        return {q: self._quantile(self.states.of("kurtosis"), q) for q in QUARTILES}

    @cached_property
    def permuted(self) -> dict[str, Interval]:
        """The same for permuted weights: some means, and the median of the kurtosis."""
        values = {name: self.states.permuted_series(name) for name in PERMUTED}
        return self._means_and_median(values)

    @cached_property
    def difference(self) -> dict[str, Interval]:
        """The values minus those of permuted weights, paired by prefix."""
        values = {n: self.states.of(n) - self.states.permuted_series(n) for n in PERMUTED}
        return self._means_and_median(values)

    def _means_and_median(self, values: dict[str, Tensor]) -> dict[str, Interval]:
        means = {name: self._mean(values[name], self.has_shape) for name in PERMUTED_MEANS}
        return means | {"kurtosis": self._quantile(values["kurtosis"], 0.5)}

    def _quantile(self, values: Float[Tensor, "temperature prefix"], share: float) -> Interval:
        """A quantile over prefixes that have a shape; NaN where none has."""
        laws = zip(values, self.has_shape, strict=True)
        return Interval.stack(
            self.bootstrap.quantile(law[where], self.states.unit[where], share)
            if where.any()
            else Interval.unknown(law.new_full((), torch.nan))
            for law, where in laws
        )

    @property
    def temperatures(self) -> Float[Tensor, " temperature"]:
        """All temperatures, ascending."""
        return torch.tensor(self.sampling.temperatures, dtype=torch.float64)

    @property
    def own(self) -> int:
        """The index of the temperature of the texts."""
        return self.sampling.temperatures.index(self.sampling.sampler.temperature)

    def divergence_mean(
        self, name: str, divergence: GaussianDivergence, *, per_rank: bool = False
    ) -> Interval:
        """The mean of one number of a divergence, at the temperature of the texts."""
        rank = divergence.rank if per_rank else None
        return self._mean(getattr(divergence, name), self.has_shape[self.own], rank)

    @cached_property
    def example(self) -> int:
        """The prefix whose kurtosis at the temperature of the texts is the median."""
        median = self.kurtosis[0.5].value[self.own]
        distance = (self.states.of("kurtosis")[self.own] - median).abs()
        return int(distance.masked_fill(~self.has_shape[self.own], torch.inf).argmin())
