"""A discrete-time Markov chain with bimodal noise, which is no diffusion."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.scale import DiagonalScale
from sdelens.seeds import generator
from sdelens.testing.system import NON_GAUSSIAN, System, normals


@dataclass(frozen=True, eq=False)
class DiscreteMarkov(System):
    r""":math:`X' = \phi X \pm a + s\varepsilon`, each sign with probability one half.

    Started at N(0, 1), with a burn-in of 50 steps.
    """

    continuous: ClassVar[bool] = False

    memory: float
    peak: float
    """a."""
    width: float
    """s."""

    def simulate(self, paths: int, length: int, seed: int) -> Float[Tensor, "path time dim"]:
        random = generator(seed, self.name)
        total = length + 50
        signs = 2.0 * torch.randint(2, (total, paths, 1), generator=random) - 1
        noise = self.peak * signs + self.width * normals(random, total, paths, 1)
        states = [normals(random, paths, 1)]
        for step in noise[1:]:
            states.append(self.memory * states[-1] + step)
        return torch.stack(states[50:], dim=1).float()

    def log_density(
        self, x: Float[Tensor, "*batch dim"], following: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch"]:
        residual = following.double() - self.memory * x.double()
        scale = DiagonalScale(torch.tensor([self.width], dtype=torch.float64))
        sides = [scale.log_density(residual + sign * self.peak) for sign in (-1, 1)]
        return torch.logaddexp(*sides) + torch.tensor(0.5).log()


def discrete_markov(
    memory: float = 0.5, peak: float = 0.9, width: float = 0.19**0.5
) -> DiscreteMarkov:
    r"""The default noise has unit variance, so that the stationary variance is 4/3."""
    return DiscreteMarkov(
        name="discrete-markov",
        dim=1,
        dt=1.0,
        expected=frozenset({NON_GAUSSIAN}),
        memory=memory,
        peak=peak,
        width=width,
    )
