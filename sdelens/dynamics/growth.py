r"""Growth of a small deviation of the state over one step of a fit.

.. math:: g(x) = \tfrac12 \log\left(\|J(x)\|_F^2 / d\right),

with J the derivative of the step's mean, is the logarithm of the root mean square over directions.
Negative values mean contraction. It is 0 everywhere for a random walk and constant for a linear
kernel. It is a local measure; `sdelens.dynamics.exponents` follows deviations over many steps.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.dynamics.step_map import StepMap
from sdelens.laws.jets import pushed
from sdelens.laws.sde import SDE
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator

DIRECTIONS = 8
"""Number of random directions: E|Jv|² is the squared Frobenius norm of J for a normal v."""
STATES = 4096
"""States per batch."""


@torch.no_grad()
def growth(sde: SDE, paths: Iterable[Trajectories], *, seed: int) -> Float[Tensor, " step"]:
    """Growth at every transition of latent paths, in order."""
    found = []
    for block in paths:
        steps = block.flat()
        axes = torch.randn(DIRECTIONS, steps.x.shape[-1], generator=generator(seed, "growth"))
        found += [
            _growth(StepMap.of(sde, t), x, axes.to(x))
            for t, x in zip(
                *(torch.split(each, STATES) for each in (steps.t, steps.x)), strict=True
            )
        ]
    return torch.cat(found).cpu()


def _growth(
    step: StepMap, x: Float[Tensor, "state dim"], axes: Float[Tensor, "axis dim"]
) -> Float[Tensor, " state"]:
    pushes = (pushed(step.mean, x, axis.expand_as(x).contiguous())[1] for axis in axes)
    squares = torch.stack([each.double().square().sum(-1) for each in pushes]).mean(0)
    return squares.div(x.shape[-1]).log() / 2
