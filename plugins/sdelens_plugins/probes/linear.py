"""A linear drift by ridge regression in closed form, with constant noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.estimation.additive import (
    AdditiveMean,
    Moments,
    Terms,
    second_moment,
    times_of,
)
from sdelens.estimation.selection import selected
from sdelens.estimation.timed import noise_around
from sdelens.fitting.baselines import Effort
from sdelens.laws.constant_noise import NoiseSpec
from sdelens.laws.law import group_of
from sdelens.laws.sde import SDE, KernelSDE, LinearSDE
from sdelens.laws.timed_noise import StatelessNoise, restored_noise
from sdelens.paths.trajectories import Paths, dt_of
from sdelens.protocols import Fit, Watch
from sdelens.settings import require_at_least


@dataclass(frozen=True)
class LinearProbe:
    """``E[X'|x,t] = A x + c_t`` with constant noise, by float64 normal equations.

    `discrete`: a kernel, with an intercept for each position and noise ``scalar``,
    ``diagonal``, ``correlated:k`` or ``full``, each with ``@time`` after it for deviations of each
    time. `exact`: the linear SDE with this transition law, by the matrix logarithm; one intercept,
    or with `by_time` one for each time, and full noise whatever `noise` is. `ridge` is the penalty
    per transition as a share of each coordinate's mean square; None chooses it on validation.
    """

    densities: ClassVar[tuple[str, ...]] = ("discrete", "exact")
    looks_back: ClassVar[bool] = False

    density: Literal["discrete", "exact"] = "discrete"
    ridge: float | None = None
    noise: str = "diagonal"
    by_time: bool = False

    def __post_init__(self) -> None:
        require_at_least(self, ridge=0)
        spec = NoiseSpec.parse(self.noise)  # raises for an invalid noise family before any work
        if spec.by_time and self.density == "exact":
            raise UsageError(
                f"the coefficients of an exact density do not depend on time, but noise is "
                f"{self.noise!r}: use noise={spec.name} or density=discrete"
            )
        if self.density == "exact":
            object.__setattr__(self, "noise", "full")  # record the noise that is fitted

    def effort(self, dim: int) -> Effort:
        """Baselines get noise of the same structure."""
        del dim
        return Effort(NoiseSpec.parse(self.noise))

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        del seed, watch  # closed form
        times = times_of(train)
        moments, held = Moments.of(train, times), Moments.of(validation, times)
        terms = Terms(state=True, position=self.by_time or self.density == "discrete")
        mean = selected(moments, held, terms, ridge=self.ridge)
        dt = dt_of(train)
        if self.density == "exact":
            covariance = second_moment(mean, moments)
            offsets = (mean.by_time, mean.times) if self.by_time else (mean.by_time[:1], None)
            exact = LinearSDE.from_step(mean.matrix, offsets[0], covariance, dt, offsets[1])
            tensors = {name: t.float() for name, t in exact.tensors().items()}
            return Fit(LinearSDE(**tensors, dt=dt))
        noise = noise_around(NoiseSpec.parse(self.noise), mean, moments, train)
        return Fit(self._kernel(mean.to(torch.float32), noise, dt))

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SDE:
        if self.density == "exact":
            return LinearSDE(**dict(tensors), dt=config["dt"])
        mean, noise = group_of(dict(tensors), "mean"), group_of(dict(tensors), "noise")
        return self._kernel(
            AdditiveMean(**mean), restored_noise(NoiseSpec.parse(self.noise), noise), config["dt"]
        )

    def _kernel(self, mean: AdditiveMean, noise: StatelessNoise, dt: float) -> KernelSDE:
        return KernelSDE(mean, noise, dt=dt, density="discrete", diagonal=noise.diagonal)
