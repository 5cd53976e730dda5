"""The interface of reference systems."""

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
    """A process with known truth, observed every `dt` without error.

    Quantities that do not exist, or are not known in closed form or to convergence, are None.
    Computations use float64; paths are float32.
    """

    continuous: ClassVar[bool] = True
    """Whether the process is defined between observations."""

    name: str
    dim: int
    dt: float
    expected: frozenset[str]
    """The correct classes of the verdict; "cannot tell" is not one of them."""

    @abstractmethod
    def simulate(self, paths: int, length: int, seed: int) -> Float[Tensor, "path time dim"]:
        """Independent paths of `length` states, stationary unless the class states otherwise."""

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
