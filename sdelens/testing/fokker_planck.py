r"""The transition kernel of :math:`dX = -V'(X)\,dt + \sigma\,dW` from its Fokker-Planck equation.

On an even grid the process is approximated by jumps between neighbours at the rates

.. math:: q_{i \to i\pm1} = \frac{\sigma^2}{2h^2}\, e^{-(V_{i\pm1} - V_i)/\sigma^2},

which conserve probability and satisfy detailed balance with :math:`e^{-2V/\sigma^2}`. The error is
of second order in h; Richardson extrapolation from two grids makes it fourth order.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.scale import LOG_2PI


@dataclass(frozen=True, eq=False)
class GridKernel:
    r"""Log transition density on a grid with cubic interpolation in both arguments.

    The interpolated function is the smooth ratio to the density of Brownian motion over the step.
    Beyond the grid the outermost cubics extrapolate.
    """

    nodes: Float[Tensor, " node"]
    relative: Float[Tensor, "node node"]
    variance: float
    """Standard deviation of Brownian motion over the step."""

    @classmethod
    def of(
        cls,
        potential: Callable[[Tensor], Tensor],
        noise: float,
        dt: float,
        *,
        reach: float,
        cells: int,
    ) -> "GridKernel":
        """The kernel on [-reach, reach] with `cells` cells and a second grid twice as fine."""
        nodes = torch.linspace(-reach, reach, cells + 1, dtype=torch.float64)
        fine = torch.linspace(-reach, reach, 2 * cells + 1, dtype=torch.float64)
        coarse_log = log_kernel(potential(nodes), noise, dt, 2 * reach / cells)
        fine_log = log_kernel(potential(fine), noise, dt, reach / cells)[::2, ::2]
        variance = noise**2 * dt
        brownian = -0.5 * ((nodes - nodes[:, None]).square() / variance + LOG_2PI)
        log = (4 * fine_log - coarse_log) / 3
        return cls(nodes, log - brownian + 0.5 * math.log(variance), variance)

    def log_density(
        self, x: Float[Tensor, "*batch"], following: Float[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch"]:
        """Log density of `following` given x, in nats."""
        row, along = self._cubic(x)
        column, across = self._cubic(following)
        table = self.relative[row[..., :, None], column[..., None, :]]
        smooth = torch.einsum("...i,...ij,...j->...", along, table, across)
        brownian = -0.5 * ((following - x).square() / self.variance + LOG_2PI)
        return smooth + brownian - 0.5 * math.log(self.variance)

    def _cubic(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The four nodes around each x with their Lagrange weights."""
        step = self.nodes[1] - self.nodes[0]
        place = (x - self.nodes[0]) / step
        first = (place.floor().long() - 1).clamp(0, len(self.nodes) - 4)
        a, b, c, d = (place - first - k for k in range(4))
        weights = [-b * c * d / 6, a * c * d / 2, -a * b * d / 2, a * b * c / 6]
        return first[..., None] + torch.arange(4), torch.stack(weights, dim=-1)


def log_kernel(
    potential: Float[Tensor, " node"], noise: float, dt: float, step: float
) -> Float[Tensor, "node node"]:
    """Log density of moving from node i to node j within dt.

    The exponential of the generator is computed by repeated squaring from a short time. All
    entries are positive, so nothing cancels and small densities keep their relative precision.
    """
    rise = potential.diff() / noise**2
    rate = noise**2 / (2 * step**2)
    generator = torch.diag(rate * (-rise).exp(), 1) + torch.diag(rate * rise.exp(), -1)
    generator = generator - generator.sum(1).diag()
    leaving = float(-generator.diagonal().min())
    doublings = max(0, math.ceil(math.log2(leaving * dt)))
    short = dt / 2**doublings
    one = torch.eye(len(potential)).to(generator)
    # scipy.linalg.expm of the generator itself rounds small densities of short steps to zero
    kernel: Tensor = torch.linalg.matrix_exp((generator + leaving * one) * short)
    kernel = kernel * math.exp(-leaving * short)
    for _ in range(doublings):
        kernel = kernel @ kernel
    log: Tensor = (kernel / step).log()
    return log
