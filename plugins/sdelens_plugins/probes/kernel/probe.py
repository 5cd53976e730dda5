"""Nonparametric drift and diffusion in up to three dimensions, by kernel regression."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.estimation.additive import (
    Terms,
)
from sdelens.estimation.kramers_moyal import NODES, KramersMoyalSDE, SmoothMean, SmoothNoise
from sdelens.estimation.selection import selected
from sdelens.fitting.baselines import Effort
from sdelens.laws.constant_noise import NoiseSpec
from sdelens.laws.law import group_of
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import Paths, dt_of
from sdelens.protocols import Fit, Watch
from sdelens_plugins.probes.kernel.conditional_moments import ConditionalMoments


@dataclass(frozen=True)
class KernelProbe:
    """Conditional mean and covariance of a step, as functions of the state, with error bars.

    The first two Kramers-Moyal moments are estimated on a grid by local linear regression around
    the linear fit. Their bandwidths (in standard deviations of the state) are chosen by validation
    and cross-validation. The law provides `drift_error` and `covariance_error`. For `discrete` the
    linear part has an intercept for each position; for `euler` nothing depends on time.
    """

    densities: ClassVar[tuple[str, ...]] = ("discrete", "euler")
    looks_back: ClassVar[bool] = False

    density: Literal["discrete", "euler"] = "discrete"
    bandwidth: float | None = None

    def __post_init__(self) -> None:
        if self.bandwidth is not None and not self.bandwidth > 0:
            raise UsageError(f"bandwidth must be above 0, got {self.bandwidth}")

    def effort(self, dim: int) -> Effort:
        """Baselines get correlated noise as well."""
        del dim
        waves = 4 if self.density == "discrete" else 0
        return Effort(NoiseSpec("full"), waves=waves)

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        del seed, watch  # deterministic, without epochs
        _require_few(next(iter(train)).states.shape[-1])
        times = times_of(train)
        moments, held = Moments.of(train, times), Moments.of(validation, times)
        linear = selected(moments, held, Terms(state=True, position=self.density == "discrete"))
        mean, noise = ConditionalMoments(train, validation, linear, moments, self.bandwidth).fit()
        return Fit(self._law(mean.to(torch.float32), noise.to(torch.float32), dt_of(train)))

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> KramersMoyalSDE:
        mean, noise = group_of(dict(tensors), "mean"), group_of(dict(tensors), "noise")
        return self._law(SmoothMean.restore(mean), SmoothNoise(**noise), config["dt"])

    def _law(self, mean: SmoothMean, noise: SmoothNoise, dt: float) -> KramersMoyalSDE:
        diagonal = len(mean.lower) == 1
        return KramersMoyalSDE(mean, noise, dt=dt, density=self.density, diagonal=diagonal)


def _require_few(dim: int) -> None:
    if dim not in NODES:
        raise UsageError(
            f"the kernel probe fits up to {max(NODES)} dimensions, got {dim}: use a basis of few "
            f"directions, as --basis pca:{max(NODES)}, or --probe neural"
        )
