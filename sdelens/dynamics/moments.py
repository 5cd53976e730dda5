r"""Moments of a law over time: from samples, closed recursions, or Gaussian closure.

Moments are those of the mixture over the starting states, for each component: the mean and the
central moments of order 2, 3 and 4. For a linear step :math:`X' = AX + c_t + \varepsilon`, the
recursions

.. math:: m' = Am + c_t, \qquad C' = ACA^\top + S

are exact; for the exact law of a linear SDE they solve :math:`\dot m = Am + b` and
:math:`\dot C = AC + CA^\top + \sigma\sigma^\top`. For a nonlinear step, the Gaussian closure
assumes a normal state at every time, with mean :math:`E\,m(X)` and covariance
:math:`\mathrm{Cov}\,m(X) + E\,S(X)` by cubature (Arasaratnam and Haykin 2009).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.dynamics.affine import Affine
from sdelens.dynamics.step_map import StepMap
from sdelens.laws.sde import SDE
from sdelens.seeds import derive

ORDERS = ("mean", "variance", "third moment", "fourth moment")
ENTRIES = 2**22
"""Maximum number of covariance entries of cubature points per batch."""


@dataclass(frozen=True, eq=False)
class Projection:
    """Components as affine functions of the law's coordinates, at each time."""

    direction: Float[Tensor, "dim component"]
    offset: Float[Tensor, "time component"]

    def __call__(
        self, step: int, x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch component"]:
        """The components at the k-th time."""
        return x.double() @ self.direction + self.offset[step]


def central(
    values: Float[Tensor, "*batch sample component"],
) -> Float[Tensor, "*batch component 4"]:
    """Mean, variance, third and fourth central moments over the samples, divided by n."""
    mean = values.mean(-2)
    away = values - mean[..., None, :]
    return torch.stack([mean, *(away.pow(k).mean(-2) for k in (2, 3, 4))], dim=-1)


def linear_moments(
    affine: Affine,
    starts: Float[Tensor, "start dim"],
    times: Float[Tensor, " time"],
    projection: Projection,
) -> Float[Tensor, "time component 4"]:
    """Exact moments: propagated starts plus accumulated Gaussian noise."""
    x = starts.double()
    noise = torch.zeros_like(affine.covariance)
    found = []
    for step in range(len(times)):
        if step > 0:
            x = x @ affine.matrix.mT + affine.offset(times[step - 1])
            noise = affine.matrix @ noise @ affine.matrix.mT + affine.covariance
        w = projection.direction
        found.append(_widened(central(projection(step, x)), ((w.mT @ noise) * w.mT).sum(-1)))
    return torch.stack(found)


def _widened(
    moments: Float[Tensor, "component 4"], variance: Float[Tensor, " component"]
) -> Float[Tensor, "component 4"]:
    """Moments after adding independent Gaussian noise."""
    mean, second, third, fourth = moments.unbind(-1)
    tail = fourth + 6 * second * variance + 3 * variance.square()
    return torch.stack([mean, second + variance, third, tail], dim=-1)


def closure_moments(
    sde: SDE,
    starts: Float[Tensor, "start dim"],
    times: Float[Tensor, " time"],
    projection: Projection,
) -> Float[Tensor, "time component 4"]:
    """Moments of the Gaussian closure, from the mean and covariance of the starts."""
    wide = starts.double()
    mean = wide.mean(0)
    covariance = (wide - mean).mT @ (wide - mean) / len(wide)
    found = []
    for step in range(len(times)):
        if step > 0:
            mapped = StepMap.of(sde, float(times[step - 1]))
            mean, covariance = _closed(mapped, mean, covariance, starts.dtype)
        w = projection.direction
        variance = ((w.mT @ covariance) * w.mT).sum(-1)
        zero = torch.zeros_like(variance)
        centre = projection(step, mean)
        found.append(torch.stack([centre, variance, zero, 3 * variance.square()], dim=-1))
    return torch.stack(found)


def _closed(
    step: StepMap, mean: Tensor, covariance: Tensor, kind: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Mean and covariance one step later, from the 2d cubature points."""
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * (values.clamp(min=0) * len(mean)).sqrt()
    points = torch.cat([mean + root.mT, mean - root.mT]).to(kind)
    moved = step.mean(points).double()
    centre = moved.mean(0)
    away = moved - centre
    noise = torch.zeros_like(covariance)
    for part in points.chunk(-(-points.shape[0] * covariance.numel() // ENTRIES)):
        noise += step.scale(part).summed_covariance(len(part)) / len(points)
    return centre, away.mT @ away / len(points) + noise


def simulated(
    sde: SDE,
    starts: Float[Tensor, "start dim"],
    times: Float[Tensor, " time"],
    projection: Projection,
    *,
    draws: int,
    seed: int,
) -> Float[Tensor, "time draw start component"]:
    """Components of simulated paths, `draws` from each start."""
    x = starts.expand(draws, *starts.shape)
    found = [projection(0, x)]
    for step, t in enumerate(times[:-1].to(x), start=1):
        law = sde.transition(t.expand(x.shape[:-1]), x)
        x = law.sample(derive(seed, "moments", step))
        found.append(projection(step, x))
    return torch.stack(found)
