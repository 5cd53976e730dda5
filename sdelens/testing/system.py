"""What every reference system can say about itself."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

DIFFUSION = "compatible with a diffusion"
JUMP = "jump"
NON_MARKOV = "non-Markov"
NON_GAUSSIAN = "discrete, non-Gaussian Markov"


@dataclass(frozen=True, eq=False)
class System(ABC):
    """A process whose truth is known, observed every `dt` without error.

    Where something is not known in closed form or to convergence, or does not exist, None is
    returned for it. Computations are in float64; paths are float32.
    """

    continuous: ClassVar[bool] = True
    """Whether there is anything between two observations."""

    name: str
    dim: int
    dt: float
    expected: frozenset[str]
    """The classes that a right verdict may choose; "cannot tell" is not among them."""

    @abstractmethod
    def simulate(self, paths: int, length: int, seed: int) -> Float[Tensor, "path time dim"]:
        """Independent paths of `length` states; stationary unless the class says otherwise."""

    def drift(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"] | None:
        r""":math:`\mu(x)` of :math:`dX = \mu\,dt + \sigma\,dW`, in states per unit of time."""
        del x
        return None

    def covariance(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim dim"] | None:
        r""":math:`\sigma\sigma^\top(x)`, per unit of time."""
        del x
        return None

    def log_density(
        self, x: Float[Tensor, "*batch dim"], following: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch"] | None:
        """Log density of the state one `dt` after x, in nats."""
        del x, following
        return None


def constant(
    unit: Float[Tensor, "dim dim"], x: Float[Tensor, "*batch dim"]
) -> Float[Tensor, "*batch dim dim"]:
    """The same matrix for every state."""
    return unit.to(x).expand(*x.shape, x.shape[-1])


def normals(random: torch.Generator, *shape: int) -> Tensor:
    """Standard normal draws in float64."""
    return torch.randn(*shape, generator=random, dtype=torch.float64)
