"""Linear systems with one observed coordinate, whose paths are not Markov."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.seeds import generator
from sdelens.testing.flow import Flow
from sdelens.testing.system import NON_MARKOV, System


@dataclass(frozen=True, eq=False)
class Hidden(System):
    """The first of two coordinates of a stationary linear system, sampled exactly."""

    flow: Flow
    """One step of both coordinates."""

    def simulate(self, paths: int, length: int, seed: int) -> Float[Tensor, "path time dim"]:
        return self.flow.paths(paths, length, generator(seed, self.name))[..., :1].float()


def hidden_ornstein_uhlenbeck(
    rate: float = 10.0, kappa: float = 0.5, spread: float = 0.7, dt: float = 0.1
) -> Hidden:
    r""":math:`dX = -\theta(X - H)\,dt + \sigma\,dW` around a hidden level.

    :math:`dH = -\kappa H\,dt + h\sqrt{2\kappa}\,dW'`, with :math:`\theta` = `rate`, h = `spread`
    and :math:`\sigma^2 = \theta/2`. At the default :math:`\kappa = \theta/20`, one and two earlier
    states gain .016 and .024 nats; at :math:`\kappa = \theta/2` one earlier state gains .0001.
    Raises `UsageError` unless kappa is positive.
    """
    if not kappa > 0:
        raise UsageError(f"kappa, the rate of the hidden level, must be above 0, got {kappa}")
    matrix = torch.tensor([[-rate, rate], [0.0, -kappa]], dtype=torch.float64)
    unit = torch.tensor([rate / 2, 2 * kappa * spread**2], dtype=torch.float64).diag()
    return Hidden(
        name="hidden-ornstein-uhlenbeck",
        dim=1,
        dt=dt,
        expected=frozenset({NON_MARKOV}),
        flow=Flow.of(matrix, unit, dt),
    )


def coloured_noise(rate: float = 5.0, memory: float = 0.1, dt: float = 0.1) -> Hidden:
    r""":math:`dX = (-\theta X + \eta)\,dt` with a force of correlation time `memory`.

    :math:`d\eta = -\eta/\tau\,dt + (\theta/\tau)\,dW`. At the default, one earlier state gains .09
    nats.
    """
    matrix = torch.tensor([[-rate, 1.0], [0.0, -1 / memory]], dtype=torch.float64)
    unit = torch.tensor([0.0, (rate / memory) ** 2], dtype=torch.float64).diag()
    return Hidden(
        name="coloured-noise",
        dim=1,
        dt=dt,
        expected=frozenset({NON_MARKOV}),
        flow=Flow.of(matrix, unit, dt),
    )
