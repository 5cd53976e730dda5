"""Moments of the data beside those of simulated replicates and of a closed form."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from sdelens.dynamics.affine import Affine
from sdelens.dynamics.moments import (
    Projection,
    central,
    closure_moments,
    linear_moments,
    simulated,
)
from sdelens.errors import BadNumbers
from sdelens.fitting.fitted import Fitted
from sdelens_plugins.analyzers.common.observed_path import ObservedPath
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents

BATCHES = 10
"""Batches of replicates whose spread gives the Monte Carlo error of the moments."""


@dataclass(frozen=True, eq=False)
class MomentComparison:
    """Moments to order 4 of principal components: data, simulated replicates, closed form."""

    axes: PrincipalComponents
    times: Float[Tensor, " time"]
    data: Float[Tensor, "time component 4"]
    simulated: Float[Tensor, "time replicate document component"]
    closed: Float[Tensor, "time component 4"]
    closed_name: str
    """What the closed form is: a closed recursion or a Gaussian closure."""
    documents: int
    trained: int
    """The number of training documents."""

    @classmethod
    def of(
        cls,
        fitted: Fitted,
        axes: PrincipalComponents,
        paths: Sequence[ObservedPath],
        *,
        trained: int,
        replicates: int,
        seed: int,
    ) -> "MomentComparison":
        """Simulates from the first states of paths that share their times.

        `trained` is the number of documents that the law was fitted to.
        """
        times, states = paths[0].times, torch.stack([path.states for path in paths])
        starts = fitted.basis.encode(times[:1].expand(len(paths)), states[:, 0])
        projection = _projection(fitted, axes, times)
        draws = simulated(fitted.sde, starts, times, projection, draws=replicates, seed=seed)
        _require_finite(draws)
        affine = Affine.of(fitted.sde)
        if affine is None:
            name = "Gaussian closure"
            closed = closure_moments(fitted.sde, starts, times, projection)
        else:
            name = "closed recursion"
            closed = linear_moments(affine, starts, times, projection)
        components = axes.project(states).double()
        data = central(rearrange(components, "document time component -> time document component"))
        return cls(axes, times.double(), data, draws, closed, name, len(paths), trained)

    @property
    def orders(self) -> int:
        """The number of moments that can be estimated: order k needs k documents."""
        return min(4, self.documents)

    @cached_property
    def replicates(self) -> Float[Tensor, "replicate time component 4"]:
        """The moments of each replicate over its documents, with an error of the fit.

        Coefficients that are fitted efficiently predict a moment with at most the error of the
        same moment of as many documents as they were fitted to. That is the deviation of another
        replicate from the mean, scaled by the root of the numbers of test and training documents.
        """
        rows = rearrange(central(self.simulated), "time replicate ... -> replicate time ...")
        scale = (self.documents / max(self.trained, 1)) ** 0.5
        errors: Tensor = scale * (rows - rows.mean(0)).roll(1, dims=0)
        return rows + errors

    @cached_property
    def monte_carlo(
        self,
    ) -> tuple[Float[Tensor, "time component 4"], Float[Tensor, "time component 4"]]:
        """Moments of all replicates together, and their standard errors from batches."""
        batches = self.simulated.chunk(BATCHES, dim=1)
        parts = torch.stack([central(_pooled(batch)) for batch in batches])
        return central(_pooled(self.simulated)), parts.std(0) / len(parts) ** 0.5

    @cached_property
    def scores(self) -> tuple[Float[Tensor, " 4"], Float[Tensor, "replicate 4"]]:
        """Mean squared deviation from the common mean, of the data and of each replicate.

        In standard deviations, averaged over times and components. The data count as one of the
        replicates, as each of these does: otherwise tails would be heavier in the data alone. The
        first time is left out: all start from the same states.
        """
        rows = torch.cat([self.data[None], self.replicates])[:, 1:]
        centre, spread = rows.mean(0), rows.std(0).clamp(min=1e-300)
        scores: Tensor = ((rows - centre) / spread).square().mean((1, 2))
        return scores[0], scores[1:]

    @property
    def p_values(self) -> Float[Tensor, " order"]:
        """P-values of the scores by order, which hold for all orders together.

        The smallest p-value of the data among those of the replicates (Westfall and Young 1993);
        the data count as one of the replicates, and the orders need not be independent.
        """
        data, null = self.scores
        scores = torch.cat([data[None], null])[:, : self.orders]
        p = (scores[:, None] <= scores).double().mean(1)
        return (p.amin(1)[:, None] <= p[0]).double().mean(0)

    @property
    def closed_errors(self) -> Float[Tensor, " 4"]:
        """Root mean squared closed form less Monte Carlo, in Monte Carlo errors, by order."""
        pooled, error = self.monte_carlo
        z = (self.closed - pooled)[1:] / error[1:].clamp(min=1e-300)
        return z.square().mean((0, 1)).sqrt()

    @property
    def closed_variance_error(self) -> float:
        """The largest relative error of a variance of the closed form."""
        pooled, _ = self.monte_carlo
        return float((self.closed[1:, :, 1] / pooled[1:, :, 1] - 1).abs().max())


def _pooled(
    draws: Float[Tensor, "time replicate document component"],
) -> Float[Tensor, "time sample component"]:
    return rearrange(
        draws, "time replicate document component -> time (replicate document) component"
    )


def _require_finite(draws: Float[Tensor, "time replicate document component"]) -> None:
    """An error where the law cannot be simulated from some state."""
    failed = reduce(~draws.isfinite(), "time replicate document component -> replicate", "any")
    if failed.any():
        raise BadNumbers(
            f"{int(failed.sum())} of {len(failed)} simulated replicates are not finite: the fit "
            "diverges, or its density has no covariance at some state; fit with --density "
            "discrete (or euler), or simulate fewer steps (--set moments.steps=5)"
        )


def _projection(
    fitted: Fitted, axes: PrincipalComponents, times: Float[Tensor, " time"]
) -> Projection:
    """The components as functions of the law's coordinates."""
    direction = axes.direction(fitted.basis.decoder)
    offset = axes.project(fitted.basis.mean_at(times))
    return Projection(direction.double(), offset.double())
