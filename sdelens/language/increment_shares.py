r"""What the motion of states is made of: drift and noise, in training-standardised coordinates.

With the mean m(X) of the fit, :math:`r = X' - m(X)`, its covariance :math:`\Sigma(X)` and
:math:`T = E|X'-X|^2`: the share of motion that is drift is :math:`1 - E|r|^2/T`, the noise that
the fit claims is :math:`E\,\mathrm{tr}\,\Sigma/T`, and a calibrated fit has
:math:`E\,\mathrm{tr}\,\Sigma = E|r|^2`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.evidence.bootstrap import Bootstrap, by_unit
from sdelens.evidence.interval import Interval
from sdelens.evidence.scorecard import past, pieces
from sdelens.fitting.fitted import Fitted
from sdelens.language.noise_magnitude import starts
from sdelens.paths.standard_metric import per_dimension, standard_weights
from sdelens.paths.trajectories import Trajectories


@dataclass(frozen=True, eq=False)
class IncrementShares:
    """Squared lengths of every transition of some paths, per dimension."""

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
    """:math:`|X'-m|^2`, m the mean training state: of a law that knows nothing else."""

    @classmethod
    @torch.no_grad()
    def of(cls, fitted: Fitted, latent: Iterable[Trajectories]) -> "IncrementShares":
        """In one pass over latent paths."""
        weights = standard_weights(fitted.basis)
        rows = []
        for block in pieces(latent):
            steps, following = block.steps, block.states[:, 1:]
            law = fitted.law.predict(past(block))
            variance = law.covariance().variance().expand(following.shape)
            squares = (block.states.diff(dim=1), following - law.mean, following)
            first, residual, far = (per_dimension(x.square(), weights) for x in squares)
            each = (first, residual, per_dimension(variance, weights), far)
            times = block.times.expand(block.mask.shape)[:, :-1][steps]
            rows.append((starts(block), times, *(size[steps] for size in each)))
        if not rows:
            raise ValueError("at least one path with a transition is needed")
        return cls(
            *(torch.cat([part.cpu() for part in column]) for column in zip(*rows, strict=True))
        )


@dataclass(frozen=True, eq=False)
class Shares:
    """The decomposition by class of transition, with intervals over documents."""

    drift: Interval
    r""":math:`1 - E|r|^2/T`."""
    noise: Interval
    r""":math:`E\,\mathrm{tr}\,\Sigma/T`."""
    mean: Interval
    """What `drift` would be if the mean training state were predicted."""
    lead: Interval
    """`drift` less `mean`, paired."""
    gap: Interval
    r""":math:`E\,\mathrm{tr}\,\Sigma / E|r|^2 - 1`: 0 if the noise has the right size."""
    motion: Interval
    """T, per dimension."""
    count: Float[Tensor, " class"]

    @classmethod
    def of(
        cls,
        motion: IncrementShares,
        kind: Int[Tensor, " row"],
        unit: Int[Tensor, " row"],
        *,
        kinds: int,
        seed: int,
    ) -> "Shares":
        """Of each class; `unit` numbers the document of each row. A class without rows is NaN."""
        units = int(unit.max()) + 1
        columns = (motion.motion, motion.residual, motion.noise, motion.distance)
        rows = torch.stack([torch.ones_like(motion.motion), *columns])
        sums = by_unit(rows, kind * units + unit, kinds * units).reshape(5, kinds, units)
        count, total, residual, noise, distance = sums
        bootstrap = Bootstrap.of(count.sum(0), seed=seed)
        return cls(
            drift=bootstrap.ratio(total - residual, total),
            noise=bootstrap.ratio(noise, total),
            mean=bootstrap.ratio(total - distance, total),
            lead=bootstrap.ratio(distance - residual, total),
            gap=bootstrap.ratio(noise - residual, residual),
            motion=bootstrap.ratio(total, count),
            count=count.sum(1),
        )

    def __getitem__(self, index: int) -> "Shares":
        """One class, or several."""
        one = slice(index, index + 1)
        return Shares(*(getattr(self, name)[one] for name in vars(self)))
