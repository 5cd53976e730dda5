r"""Nonlinear drifts with additive noise, :math:`dX = \mu(X)\,dt + \sigma\,dW`."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.seeds import generator
from sdelens.testing.system import System, constant, normals


@dataclass(frozen=True, eq=False)
class Integrated(System):
    r"""Simulated by Heun's method with steps of dt / `substeps`.

    For additive noise its weak order is two: Kloeden and Platen, "Numerical Solution of Stochastic
    Differential Equations" (1992), section 15.1.
    """

    noise: float
    r""":math:`\sigma`, the same for all coordinates, which have independent noises."""
    substeps: int

    @abstractmethod
    def drift(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]: ...

    @abstractmethod
    def start(self, paths: int, random: torch.Generator) -> Float[Tensor, "path dim"]:
        """Initial states."""

    def simulate(self, paths: int, length: int, seed: int) -> Float[Tensor, "path time dim"]:
        random = generator(seed, self.name)
        states = [self.start(paths, random)]
        for _ in range(length - 1):
            states.append(self.step(states[-1], self.substeps, random))
        return torch.stack(states, dim=1).float()

    def step(
        self, x: Float[Tensor, "path dim"], substeps: int, random: torch.Generator
    ) -> Float[Tensor, "path dim"]:
        """The state one dt later."""
        small = self.dt / substeps
        for kick in self.noise * small**0.5 * normals(random, substeps, *x.shape):
            slope = self.drift(x)
            x = x + small / 2 * (slope + self.drift(x + small * slope + kick)) + kick
        return x

    def covariance(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim dim"]:
        return constant(self.noise**2 * torch.eye(self.dim), x)


@dataclass(frozen=True, eq=False)
class BurntIn(Integrated):
    """Starts from standard normal states; the first `burn_in` steps of dt are discarded."""

    burn_in: int

    def start(self, paths: int, random: torch.Generator) -> Float[Tensor, "path dim"]:
        x = normals(random, paths, self.dim)
        for _ in range(self.burn_in):
            x = self.step(x, 10, random)
        return x
