r"""Fixed points of the mean step, :math:`m(x^*) = x^*`, and their stability.

Roots are found from many starting states in parallel by the Levenberg-Marquardt method. A fixed
point is stable if all eigenvalues of :math:`\partial m/\partial x` are below 1 in modulus.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from sdelens.dynamics.region import Region
from sdelens.dynamics.step_map import StepMap

ROUNDS = 40
CLOSE = 1e-4
"""Largest residual of a root, in standard deviations per coordinate."""
SAME = 0.02
"""Roots closer than this, in the same unit, are merged."""


@dataclass(frozen=True, eq=False)
class FixedPoints:
    """Fixed points inside the region, ordered by the number of starts that reach them."""

    points: Float[Tensor, "point dim"]
    eigenvalues: Complex[Tensor, "point dim"]
    """Eigenvalues of the step's Jacobian, largest modulus first."""
    starts: Int[Tensor, " point"]
    """Number of starting states that reach each fixed point."""
    outside: int
    """Number of starts that reach a root outside the data's region."""
    lost: int
    """Number of starts that reach no root."""

    @property
    def modulus(self) -> Float[Tensor, " point"]:
        """Largest modulus of an eigenvalue at each fixed point."""
        return self.eigenvalues.abs().amax(-1)

    @property
    def stable(self) -> Bool[Tensor, " point"]:
        """Whether each fixed point is stable."""
        return self.modulus < 1


def fixed_points(step: StepMap, starts: Float[Tensor, "start dim"], region: Region) -> FixedPoints:
    """Find the roots of ``m(x) - x`` reached from the starting states."""
    ends, error = roots(step, starts, region)
    found = error < CLOSE
    inside = found & region.holds(ends)
    points, counts = distinct_points(ends[inside], region)
    return FixedPoints(
        points=points,
        eigenvalues=eigenvalues(step, points),
        starts=counts,
        outside=int((found & ~inside).sum()),
        lost=int((~found).sum()),
    )


def roots(
    step: StepMap, starts: Float[Tensor, "start dim"], region: Region
) -> tuple[Float[Tensor, "start dim"], Float[Tensor, " start"]]:
    """The end point of each start, and its residual."""
    # scipy.optimize.root solves from one start at a time; here each round moves all of them
    scale = region.std.to(starts)
    x, damping = starts.clone(), starts.new_full((len(starts),), 1e-3)
    off = _moved(step, x, scale)
    for _ in range(ROUNDS):
        open_ = ((_size(off) >= CLOSE / 10) & (damping < 1e8)).nonzero()[:, 0]
        if len(open_) == 0:
            break
        tried = x[open_] - _advance(step, x[open_], off[open_], scale, damping[open_])
        after = _moved(step, tried, scale)
        better = _size(after) < _size(off[open_])  # false where it is not a number
        x[open_[better]], off[open_[better]] = tried[better], after[better]
        damping[open_] *= torch.where(better, 0.1, 10.0).to(damping)
    return x, _size(off)


def _moved(step: StepMap, x: Tensor, scale: Tensor) -> Tensor:
    """The standardised residual."""
    return (step.mean(x) - x) / scale


def _size(off: Tensor) -> Tensor:
    return off.square().mean(-1).sqrt()


def _advance(step: StepMap, x: Tensor, off: Tensor, scale: Tensor, damping: Tensor) -> Tensor:
    """The damped Newton step, in float64 because the normal equations square the condition."""
    dim = x.shape[-1]
    identity = torch.eye(dim, dtype=torch.float64, device=x.device)
    slope = step.jacobian(x).double() * scale.double() / scale.double()[:, None] - identity
    gram = slope.mT @ slope
    level = gram.diagonal(dim1=-2, dim2=-1).mean(-1) * damping + 1e-14
    gram = gram + level[:, None, None] * identity
    found: Tensor = torch.linalg.solve(gram, slope.mT @ off.double()[..., None])[..., 0]
    return (found * scale.double()).to(x)


def distinct_points(
    points: Float[Tensor, "start dim"], region: Region
) -> tuple[Float[Tensor, "point dim"], Int[Tensor, " point"]]:
    """One representative of each group of equal points, and the group sizes."""
    scaled = (points.double() - region.centre) / region.std
    apart = torch.cdist(scaled, scaled, compute_mode="donot_use_mm_for_euclid_dist")
    near = apart / max(points.shape[-1], 1) ** 0.5 < SAME
    first = near.to(torch.uint8).argmax(-1) if len(points) else near.new_zeros(0).long()
    index, counts = torch.unique(first, return_counts=True)
    order = counts.argsort(descending=True, stable=True)
    return points[index[order]], counts[order]


def eigenvalues(step: StepMap, points: Float[Tensor, "point dim"]) -> Complex[Tensor, "point dim"]:
    """Eigenvalues of the step's Jacobian at each point, largest modulus first."""
    if len(points) == 0:
        return torch.zeros(0, points.shape[-1], dtype=torch.complex128)
    values: Tensor = torch.linalg.eigvals(step.jacobian(points).double())
    order = values.abs().argsort(dim=-1, descending=True)
    return values.gather(-1, order)
