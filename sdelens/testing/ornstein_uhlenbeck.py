r"""The Ornstein-Uhlenbeck process :math:`dX = A(X - m)\,dt + \sigma\,dW`, in any dimension."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.seeds import generator
from sdelens.testing.flow import Flow
from sdelens.testing.system import DIFFUSION, System, constant, normals


@dataclass(frozen=True, eq=False)
class OrnsteinUhlenbeck(System):
    """Stationary, with correlated noise; A need not be normal."""

    rate: Float[Tensor, "dim dim"]
    """A, per unit of time."""
    level: Float[Tensor, " dim"]
    """m, the stationary mean."""
    unit: Float[Tensor, "dim dim"]
    r""":math:`\sigma\sigma^\top`, per unit of time."""
    flow: Flow = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "flow", Flow.of(self.rate, self.unit, self.dt))

    def simulate(self, paths: int, length: int, seed: int) -> Float[Tensor, "path time dim"]:
        states = self.flow.paths(paths, length, generator(seed, self.name))
        return (states + self.level).float()

    def drift(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return ((x - self.level) @ self.rate.mT).to(x)

    def covariance(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim dim"]:
        return constant(self.unit, x)

    def log_density(
        self, x: Float[Tensor, "*batch dim"], following: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch"]:
        return self.flow.log_density(x - self.level, following - self.level)


def ornstein_uhlenbeck(dim: int = 1, dt: float = 0.1) -> OrnsteinUhlenbeck:
    r"""In one dimension :math:`dX = (1 - X)\,dt + \tfrac12 dW`.

    In d dimensions, :math:`A = -I + (G - G^\top)/2\sqrt d + \mathrm{triu}(H, 1)/2\sqrt d`, which
    rotates and is not normal, and :math:`\sigma\sigma^\top = (I + KK^\top/d)/8`, with fixed
    Gaussian matrices G, H and K.
    """
    random = generator(0, "ornstein-uhlenbeck", dim)
    turn, shear, mix = normals(random, 3, dim, dim) / dim**0.5
    one = torch.eye(dim, dtype=torch.float64)
    rate, unit = -one, one / 4
    if dim > 1:
        rate = -one + (turn - turn.mT) / 2 + shear.triu(1) / 2
        unit = (one + mix @ mix.mT) / 8
    return OrnsteinUhlenbeck(
        name=f"ornstein-uhlenbeck-{dim}",
        dim=dim,
        dt=dt,
        expected=frozenset({DIFFUSION}),
        rate=rate,
        level=torch.ones(dim, dtype=torch.float64),
        unit=unit,
    )
