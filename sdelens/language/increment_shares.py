r"""Shares of the motion due to drift and noise, in training-standardised coordinates.

Let m(X) and :math:`\Sigma(X)` be the mean and the covariance of the fit, :math:`r = X' - m(X)` and
:math:`T = E|X'-X|^2`. The share of the motion due to drift is :math:`1 - E|r|^2/T`, the share due
to the fitted noise is :math:`E\,\mathrm{tr}\,\Sigma/T`, and a calibrated fit satisfies
:math:`E\,\mathrm{tr}\,\Sigma = E|r|^2`.

Residuals are those of the increments that occurred. The analyzer ``decomposition`` has another
share of drift, of the model's own expected increment and scaled by its slope.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.evidence.bootstrap import by_unit
from sdelens.evidence.interval import Interval
from sdelens.evidence.scorecard import past, pieces
from sdelens.fitting.fitted import Fitted
from sdelens.language.transition_rows import (
    concatenate_columns,
    transition_documents,
    transition_times,
)
from sdelens.paths.standard_metric import per_dimension, standard_weights
from sdelens.paths.trajectories import Trajectories


@dataclass(frozen=True, eq=False)
class SquaredIncrements:
    """Squared increments and residuals of every transition, per dimension."""

    document: Int[Tensor, " row"]
    position: Float[Tensor, " row"]
    """The time of the state that the step starts from."""
    motion: Float[Tensor, " row"]
    """:math:`|X'-X|^2`."""
    residual: Float[Tensor, " row"]
    r""":math:`|r|^2`."""
    noise: Float[Tensor, " row"]
    r""":math:`\mathrm{tr}\,\Sigma(X)`."""
    distance: Float[Tensor, " row"]
    """:math:`|X'-m|^2` with m the mean training state."""

    @classmethod
    @torch.no_grad()
    def of(cls, fitted: Fitted, latent: Iterable[Trajectories]) -> "SquaredIncrements":
        """Compute in one pass over latent paths."""
        weights = standard_weights(fitted.basis)
        rows = []
        for block in pieces(latent):
            steps, following = block.steps, block.states[:, 1:]
            law = fitted.law.predict(past(block))
            variance = law.covariance().variance().expand(following.shape)
            squares = (block.states.diff(dim=1), following - law.mean, following)
            first, residual, far = (per_dimension(x.square(), weights) for x in squares)
            each = (first, residual, per_dimension(variance, weights), far)
            where = transition_documents(block), transition_times(block)
            rows.append((*where, *(size[steps] for size in each)))
        return cls(*concatenate_columns(rows))


@dataclass(frozen=True, eq=False)
class IncrementShares:
    """Shares of the motion by class of transition, with intervals over documents."""

    drift: Interval
    r""":math:`1 - E|r|^2/T`."""
    noise: Interval
    r""":math:`E\,\mathrm{tr}\,\Sigma/T`."""
    mean: Interval
    """The share if the prediction were the mean training state."""
    lead: Interval
    """`drift` minus `mean`, paired."""
    gap: Interval
    r""":math:`E\,\mathrm{tr}\,\Sigma / E|r|^2 - 1`: 0 if the noise has the right size."""
    motion: Interval
    """T per dimension."""
    count: Float[Tensor, " class"]

    @classmethod
    def of(
        cls,
        motion: SquaredIncrements,
        kind: Int[Tensor, " row"],
        unit: Int[Tensor, " row"],
        *,
        kinds: int,
    ) -> "IncrementShares":
        """Shares of each class; `unit` is the document of each row. Empty classes are NaN."""
        units = int(unit.max()) + 1
        columns = (motion.motion, motion.residual, motion.noise, motion.distance)
        rows = torch.stack([torch.ones_like(motion.motion), *columns])
        sums = by_unit(rows, kind * units + unit, kinds * units)
        count, total, residual, noise, distance = rearrange(
            sums, "column (kind unit) -> column kind unit", unit=units
        )
        return cls(
            drift=Interval.ratio(total - residual, total),
            noise=Interval.ratio(noise, total),
            mean=Interval.ratio(total - distance, total),
            lead=Interval.ratio(distance - residual, total),
            gap=Interval.ratio(noise - residual, residual),
            motion=Interval.ratio(total, count),
            count=count.sum(1),
        )

    def __getitem__(self, index: int) -> "IncrementShares":
        """Select one class."""
        one = slice(index, index + 1)
        return IncrementShares(*(getattr(self, name)[one] for name in vars(self)))
