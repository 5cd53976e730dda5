r"""Local slopes of drift and noise, and their growth, at given states.

A Lipschitz constant is at least the largest norm of the Jacobian that was seen. Linear growth is
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
"""Of power iteration, which approaches a norm from below."""
EXACT = 4
"""States with the largest norms, at which it is then computed exactly."""


@dataclass(frozen=True, eq=False)
class Regularity:
    """At each state."""

    drift: Float[Tensor, " state"]
    """The spectral norm of the drift's Jacobian, per unit of time."""
    noise: Float[Tensor, " state"]
    """That of sigma's, as entries of the matrix, per root of a unit of time."""
    growth: Float[Tensor, " state"]
    """The K that linear growth needs there."""

    @classmethod
    def of(
        cls,
        sde: SDE,
        t: Float[Tensor, " state"],
        x: Float[Tensor, "state dim"],
        centre: Float[Tensor, " dim"],
    ) -> "Regularity":
        """Of a law at states, each at its own time."""

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
    """Norms of the Jacobian at each state, exact where they are largest."""
    every = torch.arange(len(x))
    found = spectral_norms(function(every), x, ITERATIONS).double()
    top = found.argsort(descending=True)[:EXACT]
    matrices = jacobian(function(top), x[top]).double()
    found[top] = torch.linalg.matrix_norm(matrices, ord=2)
    return found
