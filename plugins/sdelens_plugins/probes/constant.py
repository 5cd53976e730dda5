"""A random walk with drift, the simplest SDE."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from sdelens.estimation.additive import AdditiveMean, Moments, drifting, times_of
from sdelens.estimation.timed import noise_around
from sdelens.fitting.baselines import Effort
from sdelens.laws.constant_noise import NoiseSpec
from sdelens.laws.law import group_of
from sdelens.laws.sde import KernelSDE
from sdelens.laws.timed_noise import StatelessNoise, restored_noise
from sdelens.paths.trajectories import Paths, dt_of
from sdelens.protocols import Fit, Watch


@dataclass(frozen=True)
class ConstantProbe:
    """``X' = x + c dt + noise``: one drift and one noise for all states."""

    densities: ClassVar[tuple[str, ...]] = ("discrete", "euler")
    looks_back: ClassVar[bool] = False

    density: Literal["discrete", "euler"] = "discrete"
    noise: str = "diagonal"

    def __post_init__(self) -> None:
        NoiseSpec.parse(self.noise)  # raises for an invalid noise family before any work

    def effort(self, dim: int) -> Effort:
        """Baselines get noise of the same structure."""
        del dim
        return Effort(NoiseSpec.parse(self.noise))

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        del validation, seed, watch  # closed form, nothing to choose
        moments = Moments.of(train, times_of(train))
        mean = drifting(moments, by_position=False)
        noise = noise_around(NoiseSpec.parse(self.noise), mean, moments, train)
        return Fit(self._kernel(mean.to(torch.float32), noise, dt_of(train)))

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> KernelSDE:
        mean, noise = group_of(dict(tensors), "mean"), group_of(dict(tensors), "noise")
        return self._kernel(
            AdditiveMean(**mean), restored_noise(NoiseSpec.parse(self.noise), noise), config["dt"]
        )

    def _kernel(self, mean: AdditiveMean, noise: StatelessNoise, dt: float) -> KernelSDE:
        return KernelSDE(mean, noise, dt=dt, density=self.density, diagonal=noise.diagonal)
