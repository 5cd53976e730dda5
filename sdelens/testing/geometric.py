r"""Geometric Brownian motion :math:`dX = \mu X\,dt + \sigma X\,dW`."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sdelens.laws.scale import LOG_2PI
from sdelens.seeds import generator
from sdelens.testing.system import DIFFUSION, System, normals


@dataclass(frozen=True, eq=False)
class GeometricBrownianMotion(System):
    """Starts at 1 and has no stationary law; a step is lognormal."""

    growth: float
    volatility: float

    @property
    def log_mean(self) -> float:
        """Mean of log X' - log x."""
        return (self.growth - self.volatility**2 / 2) * self.dt

    @property
    def log_std(self) -> float:
        """Standard deviation of log X' - log x."""
        return self.volatility * math.sqrt(self.dt)

    def simulate(self, paths: int, length: int, seed: int) -> Float[Tensor, "path time dim"]:
        steps = normals(generator(seed, self.name), paths, length, 1)
        steps = self.log_mean + self.log_std * steps
        steps[:, 0] = 0
        return steps.cumsum(dim=1).exp().float()

    def drift(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.growth * x

    def covariance(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim dim"]:
        return (self.volatility * x).square()[..., None]

    def log_density(
        self, x: Float[Tensor, "*batch dim"], following: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch"]:
        logs = following[..., 0].double().log()
        scaled = (logs - x[..., 0].double().log() - self.log_mean) / self.log_std
        return -0.5 * (scaled.square() + LOG_2PI) - math.log(self.log_std) - logs


def geometric_brownian_motion(
    growth: float = 0.1, volatility: float = 0.1, dt: float = 0.05
) -> GeometricBrownianMotion:
    r"""With :math:`\mu` = `growth` and :math:`\sigma` = `volatility`, per unit of time."""
    return GeometricBrownianMotion(
        name="geometric-brownian-motion",
        dim=1,
        dt=dt,
        expected=frozenset({DIFFUSION}),
        growth=growth,
        volatility=volatility,
    )
