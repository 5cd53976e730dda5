"""The baselines of a fit, fitted again to the documents of the run."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.fitting.baselines import baseline_means, constant_laws, noise_spec, refitted
from sdelens.fitting.study import Viewed
from sdelens.laws.law import Law
from sdelens.paths.moments import Moments, times_of


@dataclass(frozen=True, eq=False)
class RefittedBaselines:
    """All baselines, the fit's mean with constant noise, and the training moments."""

    laws: Mapping[str, Law]
    mean: Law
    moments: Moments

    @classmethod
    def of(cls, viewed: Viewed) -> "RefittedBaselines":
        """Fitted in closed form, with noise of the same structure as the fit's."""
        fitted = viewed.fitted
        train, validation = fitted.encoded(viewed.train), fitted.encoded(viewed.validation)
        times = times_of(train)
        moments, held = Moments.of(train, times), Moments.of(validation, times)
        noise = noise_spec(fitted.record, moments.dim)
        laws = constant_laws(baseline_means(moments, held), moments, held, noise, train)
        return cls(laws, refitted(fitted.law, train, validation, noise), moments)


def position_bins(
    moments: Moments, bins: int
) -> tuple[Float[Tensor, " edge"], Float[Tensor, " bin"]]:
    """The last time of each bin but the last, and the mean time of each bin.

    Each bin has about as many training transitions; there are fewer bins if times are few.
    """
    count = moments.position_count
    shares = count.cumsum(0) / count.sum()
    wanted = torch.arange(1, bins, dtype=shares.dtype) / bins
    edges = torch.unique(moments.times[torch.searchsorted(shares, wanted)])
    edges = edges[edges < moments.times[-1]]
    bin_number = torch.bucketize(moments.times, edges)
    total, weight = (torch.zeros(len(edges) + 1, dtype=count.dtype) for _ in range(2))
    total.index_add_(0, bin_number, count * moments.times)
    return edges, total / weight.index_add_(0, bin_number, count)
