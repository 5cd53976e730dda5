r"""Drift and noise of one step around a state, to second order in the step.

The unit of time is the step, so dt = 1 in every formula: :math:`\mu` and
:math:`a = \sigma\sigma^\top` refer to one step, J is the Jacobian of :math:`\mu`, and
:math:`L = \mu\cdot\nabla + \tfrac12 a:\nabla^2` is the generator.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.jets import (
    DenseJacobian,
    FixedJacobian,
    ImplicitJacobian,
    Jacobian,
    Jets,
    differences,
    jet,
    pushed,
    signs,
)
from sdelens.laws.scale import Scale, ScaledCorrelation


@dataclass(frozen=True)
class Precision:
    """Settings for the computation of derivatives."""

    jets: Jets = jet
    widest: int = 64
    """Maximum dimension for whole Jacobians; in higher dimensions traces are estimated."""
    estimates: int = 16
    """Number of random directions per state for estimated traces."""
    apart: bool = False
    r"""Whether gradients reach the drift only from the mean, and the noise from the rest.

    The likelihood is far more sensitive to the covariance than to the drift. If J gets gradients
    from the covariance, it compensates for any misfit of the noise, and the drift is lost. With J
    in the covariance and the noise in the mean detached,
    :math:`\partial m/\partial\theta\,S^{-1}(x' - m)` has expectation zero at the true drift for
    any noise, but the information on J in the covariance S is not used (an estimating function:
    Bibby and Sorensen 1995).
    """


EXACT = Precision()


def training(dim: int) -> Precision:
    """Fast settings for training, robust to misspecified noise in more than one dimension."""
    return Precision(differences, widest=8, estimates=2, apart=dim > 1)


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Drift and noise of one step, as functions of a batch of states."""

    drift: Callable[[Tensor], Tensor]
    noise: Callable[[Tensor], Scale]
    additive: bool = False
    """Whether the noise is the same in every state."""
    precision: Precision = EXACT

    def both(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch out"]:
        """The drift, followed by the variances of the noise if they depend on the state."""
        drift = self.drift(x)
        if self.additive:
            return drift
        variance = self.noise(x).variance().expand(drift.shape)
        return torch.cat([drift, variance], -1)


@dataclass(frozen=True, eq=False)
class Expansion:
    r"""Second-order expansion of the coefficients at x."""

    drift: Float[Tensor, "*batch dim"]
    jacobian: Jacobian
    bend: Float[Tensor, "*batch dim"]
    r""":math:`\tfrac12 a:\nabla^2\mu`."""
    scale: Scale
    r"""Noise whose covariance has the diagonal :math:`a\,e^{La/2a}`, which is positive and equals
    :math:`a + \tfrac12 La` to second order. With a constant correlation C the off-diagonal part
    is scaled accordingly, which is exact for additive or diagonal noise."""

    @classmethod
    def at(cls, coefficients: Coefficients, x: Float[Tensor, "*batch dim"]) -> "Expansion":
        """The expansion at each state of a batch."""
        drift, noise = coefficients.drift(x), coefficients.noise(x)
        narrow = x.shape[-1] <= coefficients.precision.widest
        found = _dense if narrow else _estimated
        still = drift.detach() if coefficients.precision.apart else drift
        jacobian, along, half = found(coefficients, x, still, noise)
        if coefficients.additive:
            return cls(drift, jacobian, half, noise)
        dim = x.shape[-1]
        change = (along + half)[..., dim:] / noise.variance()
        scale = ScaledCorrelation((change / 4).exp(), noise)
        return cls(drift, jacobian, half[..., :dim], scale)

    def held(self, *, apart: bool) -> Jacobian:
        """The Jacobian for the covariance, detached if `apart`."""
        return FixedJacobian(self.jacobian) if apart else self.jacobian


def _dense(
    coefficients: Coefficients, x: Tensor, drift: Tensor, noise: Scale
) -> tuple[Jacobian, Tensor, Tensor]:
    r"""J, :math:`Df\,\mu` and :math:`\tfrac12 a:\nabla^2f`, where f is the drift and variances.

    The directions are the columns of a triangular root of a, which serve for both derivatives.
    """
    dim = x.shape[-1]
    root = noise.lower().expand(*x.shape, dim)
    root = root.detach() if coefficients.precision.apart else root
    first, second = coefficients.precision.jets(coefficients.both, x, root.movedim(-1, 0))
    slopes: Tensor = torch.linalg.solve_triangular(
        root, first.movedim(0, -1), upper=False, left=False
    )
    along = (slopes @ drift[..., None])[..., 0]
    return DenseJacobian(slopes[..., :dim, :]), along, 0.5 * second.sum(0)


def _estimated(
    coefficients: Coefficients, x: Tensor, drift: Tensor, noise: Scale
) -> tuple[Jacobian, Tensor, Tensor]:
    r"""The same from products: :math:`a:\nabla^2f = E\,D^2f[\sigma\xi, \sigma\xi]`, xi signs."""
    count = coefficients.precision.estimates
    directions = noise.apply(signs(count, x.new_empty(*x.shape[:-1], noise.channels)))
    directions = directions.detach() if coefficients.precision.apart else directions
    _, second = coefficients.precision.jets(coefficients.both, x, directions)
    jacobian = ImplicitJacobian(coefficients.drift, x, signs(count, x))
    along = pushed(coefficients.both, x, drift)[1]
    return jacobian, along, 0.5 * second.mean(0)
