"""Van der Pol's oscillator with noise."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.testing.integrated import BurntIn
from sdelens.testing.system import DIFFUSION


@dataclass(frozen=True, eq=False)
class VanDerPol(BurntIn):
    r""":math:`dX = V\,dt + \sigma\,dW_1`, :math:`dV = (m(1 - X^2)V - X)\,dt + \sigma\,dW_2`."""

    damping: float
    """m."""

    def drift(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        place, speed = x.unbind(-1)
        return torch.stack([speed, self.damping * (1 - place**2) * speed - place], dim=-1)


def van_der_pol(damping: float = 1.0, noise: float = 0.5, dt: float = 0.05) -> VanDerPol:
    """Noise acts on both coordinates, so covariances are regular; 10 time units of burn-in."""
    return VanDerPol(
        name="van-der-pol",
        dim=2,
        dt=dt,
        expected=frozenset({DIFFUSION}),
        noise=noise,
        substeps=20,
        burn_in=round(10 / dt),
        damping=damping,
    )
