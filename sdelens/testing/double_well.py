r"""A particle between two wells: :math:`dX = (X - X^3)\,dt + \sigma\,dW`."""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.testing.fokker_planck import GridKernel
from sdelens.testing.integrated import Integrated
from sdelens.testing.system import DIFFUSION

REACH = 3.0
"""Half width of the grid; at the default noise 1e-28 of the stationary law lies beyond it."""
CELLS = 400
"""Grid cells; doubling them changes the log density of a step by 1e-6 nats at dt = 0.1."""


@dataclass(frozen=True, eq=False)
class DoubleWell(Integrated):
    """Started from the stationary law; the transition kernel is converged (see `CELLS`)."""

    def drift(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return x - x**3

    def start(self, paths: int, random: torch.Generator) -> Float[Tensor, "path dim"]:
        nodes = torch.linspace(-REACH, REACH, 20001, dtype=torch.float64)
        below = (-2 * potential(nodes) / self.noise**2).softmax(0).cumsum(0)
        drawn = torch.rand(paths, 1, generator=random, dtype=torch.float64)
        return nodes[torch.searchsorted(below, drawn).clamp(max=len(nodes) - 1)]

    def log_density(
        self, x: Float[Tensor, "*batch dim"], following: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch"]:
        return _kernel(self.noise, self.dt).log_density(
            x[..., 0].double(), following[..., 0].double()
        )


def potential(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The potential V; the drift is -V'."""
    return x**4 / 4 - x**2 / 2


@cache
def _kernel(noise: float, dt: float) -> GridKernel:
    return GridKernel.of(potential, noise, dt, reach=REACH, cells=CELLS)


def double_well(noise: float = 0.7, dt: float = 0.1) -> DoubleWell:
    r"""With :math:`\sigma` = `noise`."""
    return DoubleWell(
        name="double-well",
        dim=1,
        dt=dt,
        expected=frozenset({DIFFUSION}),
        noise=noise,
        substeps=20,
    )
