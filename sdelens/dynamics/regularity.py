r"""Local Lipschitz constants and linear growth of drift and noise at given states.

The largest norm of a sampled Jacobian is a lower bound of the Lipschitz constant. Linear growth is
:math:`|\mu(x)|^2 + \|\sigma(x)\|_F^2 \le K^2(1 + |x-c|^2)`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.jets import jacobian, spectral_norms
from sdelens.laws.sde import SDE

ITERATIONS = 16
"""Steps of power iteration, which converges to the norm from below."""
EXACT = 4
"""Number of states with the largest norms at which the norm is computed exactly."""


@dataclass(frozen=True, eq=False)
class Regularity:
    """Norms and growth at each state."""

    drift: Float[Tensor, " state"]
    """Spectral norm of the drift's Jacobian, per unit of time."""
    noise: Float[Tensor, " state"]
    """Spectral norm of the Jacobian of sigma's entries, per square root of time."""
    growth: Float[Tensor, " state"]
    """The constant K of linear growth."""

    @classmethod
    def of(
        cls,
        sde: SDE,
        t: Float[Tensor, " state"],
        x: Float[Tensor, "state dim"],
        centre: Float[Tensor, " dim"],
    ) -> "Regularity":
        """Evaluate a law at states, each at its own time."""

        def drift(index: Tensor) -> Callable[[Tensor], Tensor]:
            return lambda y: sde.drift(t[index], y)

        def noise(index: Tensor) -> Callable[[Tensor], Tensor]:
            return lambda y: sde.diffusion(t[index], y).entries()

        every = torch.arange(len(x))
        move, spread = drift(every)(x).double(), noise(every)(x).double()
        squares = move.square().sum(-1) + spread.square().sum(-1)
        growth = squares / (1 + (x.double() - centre).square().sum(-1))
        return cls(
            _norms(drift, x),
            _norms(noise, x) if spread.ndim == x.ndim else torch.zeros(len(x)).double(),
            growth.sqrt(),
        )


def _norms(
    function: Callable[[Tensor], Callable[[Tensor], Tensor]], x: Float[Tensor, "state dim"]
) -> Float[Tensor, " state"]:
    """Norms of the Jacobian at each state, exact for the largest ones."""
    every = torch.arange(len(x))
    found = spectral_norms(function(every), x, ITERATIONS).double()
    top = found.argsort(descending=True)[:EXACT]
    matrices = jacobian(function(top), x[top]).double()
    found[top] = torch.linalg.matrix_norm(matrices, ord=2)
    return found
