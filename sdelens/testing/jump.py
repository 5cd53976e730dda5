r"""An Ornstein-Uhlenbeck process with jumps: :math:`dX = -\theta X\,dt + \sigma\,dW + J\,dN`."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.seeds import generator
from sdelens.testing.system import JUMP, NON_GAUSSIAN, System, normals

MOST_JUMPS = 40
"""Maximum number of jumps per step; safe for Poisson rates of up to 5 per step."""


@dataclass(frozen=True, eq=False)
class JumpOrnsteinUhlenbeck(System):
    """Jumps are N(0, `size`^2) at rate `jumps` per unit of time and decay from their own times.

    Sampled exactly, starting from the stationary law of the process without jumps.
    """

    reversion: float
    noise: float
    jumps: float
    size: float

    def simulate(self, paths: int, length: int, seed: int) -> Float[Tensor, "path time dim"]:
        random = generator(seed, self.name)
        keep = math.exp(-self.reversion * self.dt)
        stationary = self.noise / math.sqrt(2 * self.reversion)
        states = [stationary * normals(random, paths)]
        for _ in range(length - 1):
            variance = stationary**2 * (1 - keep**2) + self._jump_variance(paths, random)
            states.append(keep * states[-1] + variance.sqrt() * normals(random, paths))
        return torch.stack(states, dim=1)[..., None].float()

    def _jump_variance(self, paths: int, random: torch.Generator) -> Float[Tensor, " path"]:
        """Variance added by the jumps of a step, given their number and times."""
        rate = torch.full((paths, 1), self.jumps * self.dt, dtype=torch.float64)
        count = torch.poisson(rate, generator=random)
        age = self.dt * torch.rand(paths, MOST_JUMPS, generator=random, dtype=torch.float64)
        decayed = self.size**2 * (-2 * self.reversion * age).exp()
        return decayed.where(torch.arange(MOST_JUMPS) < count, 0.0).sum(-1)


def jump_ornstein_uhlenbeck(
    jumps: float = 1.0, size: float = 0.5, dt: float = 0.1
) -> JumpOrnsteinUhlenbeck:
    """An Ornstein-Uhlenbeck process with rate 1 and noise 1/2, plus jumps.

    Observed at a single interval, it is a discrete non-Gaussian Markov chain.
    """
    return JumpOrnsteinUhlenbeck(
        name="jump-ornstein-uhlenbeck",
        dim=1,
        dt=dt,
        expected=frozenset({JUMP, NON_GAUSSIAN}),
        reversion=1.0,
        noise=0.5,
        jumps=jumps,
        size=size,
    )
