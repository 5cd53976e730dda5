"""Lorenz's system with noise."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.testing.integrated import BurntIn
from sdelens.testing.system import DIFFUSION


@dataclass(frozen=True, eq=False)
class NoisyLorenz(BurntIn):
    r"""The drift :math:`(10(y - x),\; x(28 - z) - y,\; xy - \tfrac83 z)`, and additive noise."""

    def drift(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        first, second, third = x.unbind(-1)
        return torch.stack(
            [
                10 * (second - first),
                first * (28 - third) - second,
                first * second - 8 / 3 * third,
            ],
            dim=-1,
        )


def noisy_lorenz(noise: float = 2.0, dt: float = 0.01) -> NoisyLorenz:
    """Integrated with a step of dt/100 after a burn-in of 5 time units."""
    return NoisyLorenz(
        name="noisy-lorenz",
        dim=3,
        dt=dt,
        expected=frozenset({DIFFUSION}),
        noise=noise,
        substeps=100,
        burn_in=round(5 / dt),
    )
