"""A linear drift by ridge regression in closed form, with constant noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from sdelens.estimation.additive import (
    AdditiveMean,
    Moments,
    Terms,
    second_moment,
    times_of,
)
from sdelens.estimation.selection import selected
from sdelens.fitting.baselines import Effort
from sdelens.laws.constant_noise import ConstantNoise, NoiseSpec
from sdelens.laws.law import group_of
from sdelens.laws.sde import SDE, KernelSDE, LinearSDE
from sdelens.paths.trajectories import Paths, dt_of
from sdelens.protocols import Fit, Watch


@dataclass(frozen=True)
class LinearProbe:
    """``E[X'|x,t] = A x + c_t`` with constant noise, by float64 normal equations.

    `discrete`: a kernel, with an intercept for each position and noise ``scalar``,
    ``diagonal``, ``correlated:k`` or ``full``. `exact`: the linear SDE with this transition law,
    by the matrix logarithm; one intercept, full noise. `ridge` is the penalty per transition as a
    share of the states' mean square; None chooses it on validation.
    """

    densities: ClassVar[tuple[str, ...]] = ("discrete", "exact")

    density: Literal["discrete", "exact"] = "discrete"
    ridge: float | None = None
    noise: str = "diagonal"

    def __post_init__(self) -> None:
        NoiseSpec(self.noise)  # a form that is none is an error before any work

    def effort(self, dim: int) -> Effort:
        """The baselines have noise of the same structure."""
        del dim
        return Effort(NoiseSpec("full" if self.density == "exact" else self.noise))

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        del seed, watch  # closed form
        times = times_of(train)
        moments, held = Moments.of(train, times), Moments.of(validation, times)
        terms = Terms(state=True, position=self.density == "discrete")
        mean = selected(moments, held, terms, ridge=self.ridge)
        covariance = second_moment(mean, moments)
        dt = dt_of(train)
        if self.density == "exact":
            exact = LinearSDE.from_step(mean.matrix, mean.by_time[0], covariance, dt).tensors()
            return Fit(LinearSDE(**{name: t.float() for name, t in exact.items()}, dt=dt))
        noise = ConstantNoise.of(NoiseSpec(self.noise), covariance, moments.count)
        return Fit(self._kernel(mean.to(torch.float32), noise, dt))

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SDE:
        if self.density == "exact":
            return LinearSDE(**dict(tensors), dt=config["dt"])
        mean, noise = group_of(dict(tensors), "mean"), group_of(dict(tensors), "noise")
        return self._kernel(AdditiveMean(**mean), ConstantNoise(**noise), config["dt"])

    def _kernel(self, mean: AdditiveMean, noise: ConstantNoise, dt: float) -> KernelSDE:
        return KernelSDE(mean, noise, dt=dt, density="discrete", diagonal=noise.diagonal)
