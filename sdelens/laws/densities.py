r"""Higher-order transition densities of :math:`dX = \mu(X)\,dt + \sigma(X)\,dW`.

- ``kessler``: mean and covariance to second order, in any dimension;
- ``ozaki``: the law of the linear SDE tangent at x, exact if the drift is linear.

See `sdelens.laws.splitting` for ``strang`` and `sdelens.laws.expansion` for units and symbols.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.laws.expansion import Coefficients, Expansion
from sdelens.laws.jets import Jacobian
from sdelens.laws.law import Gaussian, Predictive
from sdelens.laws.matrices import noise_of_step
from sdelens.laws.scale import FullScale, Scale

WIDEST = {"ozaki": 16, "strang": 64}
"""Maximum dimension of the densities that compute matrix functions of whole Jacobians."""


@dataclass(frozen=True, eq=False)
class Sheared(Predictive):
    r"""Normal distribution :math:`N(m, e^{J/2} S e^{J^\top/2})`.

    The log density and samples need only products with J.
    """

    centre: Float[Tensor, "*batch dim"]
    scale: Scale
    jacobian: Jacobian

    @property
    def mean(self) -> Float[Tensor, "*batch dim"]:
        return self.centre

    def covariance(self) -> Scale:
        shear = torch.linalg.matrix_exp(self.jacobian.matrix() / 2)
        return FullScale(torch.linalg.cholesky(shear @ self.scale.covariance() @ shear.mT))

    def log_density(self, following: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        straight = self.jacobian.flow(-0.5, following - self.centre)
        return self.scale.log_density(straight) - 0.5 * self.jacobian.trace()

    def sample(self, seed: int) -> Float[Tensor, "*batch dim"]:
        inner = Gaussian(torch.zeros_like(self.centre), self.scale).sample(seed)
        return self.centre + self.jacobian.flow(0.5, inner)


def kessler(coefficients: Coefficients, x: Float[Tensor, "*batch dim"]) -> Sheared:
    r"""Kessler's transition density: mean and covariance to second order (Kessler 1997).

    .. math:: m = x + \mu + \tfrac12(J\mu + \tfrac12 a:\nabla^2\mu), \quad
        S = e^{J/2}(a + \tfrac12 La)e^{J^\top/2}
    """
    local = Expansion.at(coefficients, x)
    slope = local.jacobian.times(local.drift)
    centre = x + local.drift + 0.5 * (slope + local.bend)
    return Sheared(centre, local.scale, local.held(apart=coefficients.precision.apart))


def ozaki(coefficients: Coefficients, x: Float[Tensor, "*batch dim"]) -> Gaussian:
    r"""Ozaki's transition density by local linearisation (Shoji and Ozaki 1998).

    The increment's mean solves :math:`\dot m = Jm + \mu + \tfrac12 s\,a:\nabla^2\mu` over a step,
    and :math:`S = \int_0^1 e^{Js} a\, e^{J^\top s}ds` (a with its second-order correction); both
    are computed from exponentials of block matrices (Van Loan 1978), so J may be singular.
    """
    require_narrow("ozaki", x)
    local = Expansion.at(coefficients, x)
    dim = x.shape[-1]
    slope = local.jacobian.matrix()
    block = slope.new_zeros(*x.shape[:-1], dim + 2, dim + 2)
    block[..., :dim, :dim] = slope
    block[..., :dim, dim] = local.bend
    block[..., :dim, dim + 1] = local.drift
    block[..., dim, dim + 1] = 1.0
    centre = x + torch.linalg.matrix_exp(block)[..., :dim, dim + 1]
    noise = local.scale.covariance().expand(slope.shape)
    held = local.held(apart=coefficients.precision.apart).matrix()
    return Gaussian(centre, FullScale(torch.linalg.cholesky(noise_of_step(held, noise))))


def require_narrow(density: str, x: Float[Tensor, "*batch dim"]) -> None:
    """Raise `UsageError` if the dimension is too large for a density."""
    widest = WIDEST[density]
    if x.shape[-1] > widest:
        raise UsageError(
            f"the density {density} supports at most {widest} dimensions, got {x.shape[-1]}: use "
            f"--density kessler, or a basis of fewer directions such as pca:{widest}"
        )
