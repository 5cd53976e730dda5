r"""One step of a fitted law with time held still: :math:`x' = m(x) + \sigma(x)\,\xi`."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.jets import jacobian
from sdelens.laws.scale import Scale
from sdelens.laws.sde import SDE

INSTANT = ("kessler", "ozaki", "strang")
"""Densities whose coefficients hold at every instant, so that a step has to be integrated."""
SUBSTEPS = 4
"""Of Runge and Kutta's method in a step of a law whose coefficients hold at every instant."""


@dataclass(frozen=True, eq=False)
class StepMap:
    """The mean of one step and its noise, as functions of the state alone.

    A ``discrete``, ``euler`` or ``exact`` law says both itself. For the other densities the mean
    is the flow of the drift over dt, and the noise that of dt at the state where it starts.
    """

    mean: Callable[[Tensor], Tensor]
    """States ``[*batch dim]`` to their means one step later."""
    scale: Callable[[Tensor], Scale]
    """The noise of one step."""
    dt: float = 1.0

    @classmethod
    def of(cls, sde: SDE, t: float | Float[Tensor, " state"]) -> "StepMap":
        """The law's own step at time `t`, or at a time for each of the states that it is given."""

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
        # not by the transition, which would compute the noise for the sake of the mean
        return cls(lambda x: x + drift(x) * sde.dt, lambda x: diffusion(x).times(sde.dt), sde.dt)

    @classmethod
    def flow(
        cls,
        drift: Callable[[Tensor], Tensor],
        diffusion: Callable[[Tensor], Scale],
        dt: float,
        substeps: int = SUBSTEPS,
    ) -> "StepMap":
        """A step of a continuous process, by Runge and Kutta's method of order 4."""
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
        """The next states under a given standard normal noise."""
        return self.mean(x) + self.scale(x).apply(noise)

    def jacobian(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim dim"]:
        """The derivative of the mean."""
        return jacobian(self.mean, x)

    def channels(self, x: Float[Tensor, "*batch dim"]) -> int:
        """How many independent noises a step has."""
        return self.scale(x).channels
