r"""One step of a fitted law at a fixed time: :math:`x' = m(x) + \sigma(x)\,\xi`."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.jets import jacobian
from sdelens.laws.scale import Scale
from sdelens.laws.sde import SDE

INSTANT = ("kessler", "ozaki", "strang")
"""Densities with instantaneous coefficients, whose steps have to be integrated."""
SUBSTEPS = 4
"""Runge-Kutta substeps per step for instantaneous coefficients."""


@dataclass(frozen=True, eq=False)
class StepMap:
    """Mean and noise of one step as functions of the state only.

    ``discrete``, ``euler`` and ``exact`` laws provide both. For the other densities the mean is
    the flow of the drift over dt, and the noise is evaluated at the initial state.
    """

    mean: Callable[[Tensor], Tensor]
    """States ``[*batch dim]`` to their means one step later."""
    scale: Callable[[Tensor], Scale]
    """The noise of one step."""
    dt: float = 1.0

    @classmethod
    def of(cls, sde: SDE, t: float | Float[Tensor, " state"]) -> "StepMap":
        """The step of a law at time `t`, or at one time per state."""

        def now(x: Tensor) -> Tensor:
            return torch.as_tensor(t, dtype=x.dtype, device=x.device).expand(x.shape[:-1])

        def drift(x: Tensor) -> Tensor:
            return sde.drift(now(x), x)

        def diffusion(x: Tensor) -> Scale:
            return sde.diffusion(now(x), x)

        if sde.density in INSTANT:
            return cls.flow(drift, diffusion, sde.dt)
        if sde.density == "exact":
            law = sde.transition
            return cls(
                lambda x: law(now(x), x).mean, lambda x: law(now(x), x).covariance(), sde.dt
            )
        # not from the transition, which would also compute the noise
        return cls(lambda x: x + drift(x) * sde.dt, lambda x: diffusion(x).times(sde.dt), sde.dt)

    @classmethod
    def flow(
        cls,
        drift: Callable[[Tensor], Tensor],
        diffusion: Callable[[Tensor], Scale],
        dt: float,
        substeps: int = SUBSTEPS,
    ) -> "StepMap":
        """The flow of the drift over one step, by the fourth-order Runge-Kutta method."""
        h = dt / substeps

        def mean(x: Tensor) -> Tensor:
            for _ in range(substeps):
                first = drift(x)
                second = drift(x + h / 2 * first)
                third = drift(x + h / 2 * second)
                x = x + h / 6 * (first + 2 * second + 2 * third + drift(x + h * third))
            return x

        return cls(mean, lambda x: diffusion(x).times(dt), dt)

    def draw(
        self, x: Float[Tensor, "*batch dim"], noise: Float[Tensor, "*batch noise"]
    ) -> Float[Tensor, "*batch dim"]:
        """The next states for given standard normal noise."""
        return self.mean(x) + self.scale(x).apply(noise)

    def jacobian(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim dim"]:
        """The derivative of the mean."""
        return jacobian(self.mean, x)

    def channels(self, x: Float[Tensor, "*batch dim"]) -> int:
        """Dimension of the noise."""
        return self.scale(x).channels
