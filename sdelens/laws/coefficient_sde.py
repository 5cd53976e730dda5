"""SDEs whose transition law has a higher order than the Euler-Maruyama approximation."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sdelens.laws.densities import kessler, ozaki
from sdelens.laws.expansion import EXACT, Coefficients, Precision
from sdelens.laws.law import Mean, Noise, Predictive
from sdelens.laws.scale import Scale
from sdelens.laws.sde import SDE, Density, KernelSDE
from sdelens.laws.splitting import Linear, strang


@dataclass(frozen=True, eq=False)
class CoefficientSDE(SDE):
    """An SDE with instantaneous coefficients and the transition law of the given `density`.

    `euler` contains the same coefficients as a kernel over one step; they do not depend on time.
    `linear` is the part of the drift of one step that ``strang`` solves exactly.
    """

    euler: KernelSDE
    density: Density
    linear: Linear | None = None
    additive: bool = False
    """Whether the noise is the same in every state."""
    precision: Precision = EXACT

    @property
    def dt(self) -> float:  # type: ignore[override]
        return self.euler.dt

    @property
    def mean(self) -> Mean:
        """Euler-Maruyama mean of one step, x + mu dt."""
        return self.euler.mean

    @property
    def noise(self) -> Noise:
        """Euler-Maruyama noise of one step."""
        return self.euler.noise

    @property
    def constant_noise(self) -> bool:
        return self.euler.constant_noise

    @property
    def noise_type(self) -> str:
        return self.euler.noise_type

    def drift(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim"]:
        return self.euler.drift(t, x)

    def diffusion(self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        return self.euler.diffusion(t, x)

    def transition(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Predictive:
        coefficients = self.coefficients(t.expand(x.shape[:-1]))
        if self.density == "strang":
            if self.linear is None:
                raise ValueError("strang requires the linear part of the drift, got linear=None")
            return strang(coefficients, self.linear, x)
        return {"kessler": kessler, "ozaki": ozaki}[self.density](coefficients, x)

    def coefficients(self, t: Float[Tensor, "*batch"]) -> Coefficients:
        """Drift and noise of one step at times t."""
        return Coefficients(
            lambda x: self.euler.transition(t, x).mean - x,
            lambda x: self.euler.noise(t.expand(x.shape[:-1]), x),
            self.additive,
            self.precision,
        )

    def tensors(self) -> dict[str, Tensor]:
        return self.euler.tensors()
