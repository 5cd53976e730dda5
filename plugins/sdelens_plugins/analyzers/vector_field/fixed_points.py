"""Fixed points of the fit, searched from training states."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.dynamics.fixed_points import FixedPoints, eigenvalues, fixed_points
from sdelens.dynamics.region import Region
from sdelens.dynamics.sample import Sample
from sdelens.dynamics.step_map import StepMap
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Viewed
from sdelens.laws.sde import SDE

SEARCH_ENTRIES = 2**12
"""Starting states times coordinates of the search, which bounds its time."""


@dataclass(frozen=True, eq=False)
class FixedPointSearch:
    """Fixed points of the fit at one time."""

    points: FixedPoints
    t: float
    starts: int
    """Starting states of the search."""
    states: Float[Tensor, "point dim"]
    """The points in the data's coordinates."""
    errors: tuple[float | None, ...]
    """The error of each point's largest modulus over the ensemble; None without one."""

    @property
    def eigenvalues(self) -> Float[Tensor, "point latent 2"]:
        """Real and imaginary parts of the eigenvalues at each point."""
        return torch.view_as_real(self.points.eigenvalues)

    @classmethod
    def of(
        cls,
        viewed: Viewed,
        train: Sample,
        t: float,
        starts: int,
        more: Float[Tensor, "start dim"] | None = None,
    ) -> "FixedPointSearch":
        """Searches from evenly spaced training states, and from `more` states at time `t`."""
        fitted, basis = viewed.fitted, viewed.fitted.basis
        latent = basis.encode(train.t, train.x)
        region = Region.of(latent)
        count = max(4, min(starts, SEARCH_ENTRIES // latent.shape[-1]))
        index = torch.linspace(0, len(latent) - 1, min(count, len(latent))).long()
        first = latent[index]
        if more is not None:
            first = torch.cat([first, basis.encode(more.new_full((len(more),), t), more)])
        points = fixed_points(StepMap.of(fitted.sde, t), first, region)
        times = torch.full(points.points.shape[:1], t).to(latent)
        states = basis.decode(times, points.points.to(train.x))
        return cls(points, t, len(first), states, _member_errors(fitted, points, t))


def _member_errors(fitted: Fitted, points: FixedPoints, t: float) -> tuple[float | None, ...]:
    """The deviation of the largest modulus at the same states between ensemble members.

    The fixed points of a member itself may differ in place and number.
    """
    laws = [law for law in fitted.members if isinstance(law, SDE)]
    if len(laws) < 2 or len(points.points) == 0:
        return (None,) * len(points.points)
    moduli = [eigenvalues(StepMap.of(law, t), points.points).abs().amax(-1) for law in laws]
    errors: list[float] = torch.stack(moduli).std(0).tolist()
    return tuple(errors)
