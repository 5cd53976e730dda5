r"""The square-root process :math:`dX = \kappa(\theta - X)\,dt + \xi\sqrt{X}\,dW`.

Cox, Ingersoll and Ross, "A theory of the term structure of interest rates" (1985), equation 18:
:math:`2cX'` is noncentral chi-square with :math:`k = 4\kappa\theta/\xi^2` degrees of freedom and
noncentrality :math:`\lambda = 2c\,xe^{-\kappa dt}`, where
:math:`c = 2\kappa/(\xi^2(1 - e^{-\kappa dt}))`.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.stats import ncx2
from torch import Tensor

from sdelens.seeds import generator
from sdelens.testing.system import DIFFUSION, System


@dataclass(frozen=True, eq=False)
class CoxIngersollRoss(System):
    """Stationary (a gamma law), sampled exactly."""

    reversion: float
    level: float
    volatility: float

    @property
    def freedom(self) -> float:
        """Degrees of freedom k."""
        return 4 * self.reversion * self.level / self.volatility**2

    @property
    def precision(self) -> float:
        """The factor 2c of X'."""
        return -4 * self.reversion / (self.volatility**2 * math.expm1(-self.reversion * self.dt))

    def simulate(self, paths: int, length: int, seed: int) -> Float[Tensor, "path time dim"]:
        random = generator(seed, self.name)
        start = _chi_square(torch.full((paths,), self.freedom, dtype=torch.float64), random)
        states = [start * self.volatility**2 / (4 * self.reversion)]
        for _ in range(length - 1):
            jumps = torch.poisson(self._noncentrality(states[-1]) / 2, generator=random)
            states.append(_chi_square(self.freedom + 2 * jumps, random) / self.precision)
        return torch.stack(states, dim=1)[..., None].float()

    def drift(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.reversion * (self.level - x)

    def covariance(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim dim"]:
        return self.volatility**2 * x[..., None]

    def log_density(
        self, x: Float[Tensor, "*batch dim"], following: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch"]:
        noncentral = self._noncentrality(x[..., 0].double())
        scaled = self.precision * following[..., 0].double()
        density = ncx2.logpdf(scaled.numpy(), self.freedom, noncentral.numpy())
        return torch.as_tensor(density) + math.log(self.precision)

    def _noncentrality(self, x: Tensor) -> Tensor:
        return self.precision * math.exp(-self.reversion * self.dt) * x


def _chi_square(freedom: Tensor, random: torch.Generator) -> Tensor:
    return 2 * torch._standard_gamma(freedom / 2, generator=random)


def cox_ingersoll_ross(
    reversion: float = 1.0, level: float = 1.0, volatility: float = 0.35, dt: float = 0.1
) -> CoxIngersollRoss:
    r"""With :math:`\kappa` = `reversion`, :math:`\theta` = `level`, :math:`\xi` = `volatility`."""
    return CoxIngersollRoss(
        name="cox-ingersoll-ross",
        dim=1,
        dt=dt,
        expected=frozenset({DIFFUSION}),
        reversion=reversion,
        level=level,
        volatility=volatility,
    )
