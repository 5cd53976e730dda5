r"""The Cramér-Rao bound for linear SDEs observed at discrete times.

Over one step :math:`X' = FX + c + \varepsilon`, :math:`\varepsilon \sim N(0, S)`. With N
transitions from the stationary law, of covariance P, the Fisher information of (F, c, S) gives

.. math:: \mathrm{Cov}\,\mathrm{vec}\,\hat F = P^{-1}\otimes S/N, \quad
          \mathrm{Cov}\,\hat{\bar X}' = S/N, \quad
          \mathrm{Cov}(\hat S_{ij}, \hat S_{kl}) = (S_{ik}S_{jl} + S_{il}S_{jk})/N,

which are independent; the second is the mean of X' at the mean of X. The coefficients are
functions of these: :math:`A = \log F/dt`, and a solves :math:`AS + SA^\top = FaF^\top - a`. The
bound follows by the delta method with the derivative of the matrix logarithm (Daleckii and Krein
1965; Higham, "Functions of Matrices", theorem 3.11).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.matrices import cholesky, eigenbasis, integral_of_exponential
from sdelens.testing.ornstein_uhlenbeck import OrnsteinUhlenbeck


@dataclass(frozen=True)
class CramerRaoBound:
    """Least mean squared errors of unbiased estimators from N transitions, times N."""

    drift: float
    r""":math:`E|\hat\mu(X) - \mu(X)|^2` over the stationary law, summed over coordinates."""
    covariance: float
    r""":math:`E\|\hat a - a\|_F^2`."""
    parameters: int
    """Number of parameters p; the expected held-out excess loss is p/2N nats."""


@dataclass(frozen=True, eq=False)
class Tangent:
    """Derivatives of A and a with respect to F and S, in the eigenvectors V of F."""

    vectors: Tensor
    inverse: Tensor
    values: Tensor
    logs: Tensor
    """Logarithms of the eigenvalues per unit of time, the eigenvalues of A."""
    noise: Tensor
    r""":math:`V^{-1}SV^{-H}`."""
    dt: float

    @classmethod
    def at(cls, matrix: Tensor, covariance: Tensor, dt: float) -> "Tangent":
        """Derivatives at this F and S."""
        values, vectors = eigenbasis(matrix)
        inverse = torch.linalg.inv(vectors)
        noise = inverse @ covariance.to(values.dtype) @ inverse.mH
        return cls(vectors, inverse, values, values.log() / dt, noise, dt)

    @property
    def slopes(self) -> Tensor:
        """Divided differences of the logarithm at the eigenvalues, per unit of time."""
        apart = self.values[:, None] - self.values
        same = apart.abs() < 1e-9
        rise = self.logs[:, None] - self.logs
        return torch.where(same, 1 / (self.dt * self.values), rise / apart.masked_fill(same, 1))

    def coefficients(
        self, matrix: Float[Tensor, "*batch dim dim"], covariance: Float[Tensor, "*batch dim dim"]
    ) -> tuple[Float[Tensor, "*batch dim dim"], Float[Tensor, "*batch dim dim"]]:
        """Changes of A and a for changes of F and S."""
        steps = self.inverse @ matrix.to(self.values.dtype) @ self.vectors
        rates = self.slopes * steps
        growth = self.values[:, None] * self.values.conj() - 1
        sums = self.logs[:, None] + self.logs.conj()
        unit = self.noise * sums / growth
        half = rates @ self.noise - steps @ (unit * self.values.conj())
        noise = self.inverse @ covariance.to(self.values.dtype) @ self.inverse.mH
        change = (half + half.mH + sums * noise) / growth
        rate = (self.vectors @ rates @ self.inverse).real
        return rate, (self.vectors @ change @ self.vectors.mH).real


def efficient(system: OrnsteinUhlenbeck) -> CramerRaoBound:
    """The bound at the true coefficients of a system."""
    flow, dim = system.flow, system.dim
    spread, noise = cholesky(flow.stationary()), cholesky(flow.covariance)
    tangent = Tangent.at(flow.matrix, flow.covariance, system.dt)
    precise = torch.linalg.inv(spread)  # P^-1 = precise' precise
    still = torch.zeros(dim, dim, dim, dtype=torch.float64)
    # an error in the mean of X' only shifts the drift at the mean of X
    level = torch.linalg.inv(integral_of_exponential(system.rate, system.dt)) @ noise
    drift, covariance = float(level.square().sum()), 0.0
    for column in noise.mT:
        rate, unit = tangent.coefficients(column[:, None] * precise[:, None, :], still)
        drift += float((rate @ spread).square().sum())
        pairs = column[:, None] * noise.mT[:, None, :]
        _, turned = tangent.coefficients(still, (pairs + pairs.mT) / 2**0.5)
        covariance += float(unit.square().sum() + turned.square().sum())
    return CramerRaoBound(drift, covariance, dim * dim + dim + dim * (dim + 1) // 2)
