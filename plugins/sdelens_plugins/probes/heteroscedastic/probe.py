"""Linear drift with log-linear noise: state-dependent noise without a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from sdelens.estimation.additive import (
    AdditiveMean,
    Terms,
    autoregression,
    residual_variance,
)
from sdelens.estimation.log_variance import (
    LogLinearNoise,
    Residuals,
    constant_variance,
    log_linear_noise,
)
from sdelens.estimation.noise import features_of
from sdelens.estimation.selection import RIDGES, selected
from sdelens.fitting.baselines import Effort
from sdelens.laws.constant_noise import NoiseSpec
from sdelens.laws.law import group_of
from sdelens.laws.sde import KernelSDE
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import Paths, dt_of
from sdelens.protocols import Fit, Watch
from sdelens.settings import require_at_least
from sdelens_plugins.probes.heteroscedastic.reweighted import reweighted

NOISE_RIDGES = (1.0, 0.1, 1e-2, 1e-4)
"""Penalties on the slopes of the log variance, strongest first; each fit starts from the last."""


@dataclass(frozen=True)
class HeteroscedasticProbe:
    r""":math:`E[X'|x,t] = Ax + c_t` and :math:`\log s_i^2 = b_i^\top\phi(x,t)`, by likelihood.

    The features are the standardised state and, for `discrete`, a Fourier encoding of time with
    `waves` frequencies. Scoring steps for the variance (Harvey 1976) alternate with weighted least
    squares for the mean, `rounds` times. `noise` is ``diagonal``, or has a constant correlation
    inside the scale (``correlated:k``, ``full``). `ridge` penalises interactions in A, and
    `noise_ridge` the slopes of the log variance; None chooses them on validation. For `euler`
    nothing depends on time.
    """

    densities: ClassVar[tuple[str, ...]] = ("discrete", "euler")
    looks_back: ClassVar[bool] = False

    density: Literal["discrete", "euler"] = "discrete"
    ridge: float | None = None
    noise_ridge: float | None = None
    noise: str = "diagonal"
    waves: int = 4
    rounds: int = 3

    def __post_init__(self) -> None:
        require_at_least(self, ridge=0, noise_ridge=0, waves=0, rounds=0)
        NoiseSpec(self.noise)  # raises for an invalid noise family before any work

    def effort(self, dim: int) -> Effort:
        """Baselines get noise of the same structure."""
        del dim
        return Effort(NoiseSpec(self.noise), waves=self.encoding)

    @property
    def encoding(self) -> int:
        """Frequencies in the encoding of time; none for ``euler``, which is autonomous."""
        return self.waves if self.density == "discrete" else 0

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        del seed, watch  # deterministic, without epochs
        times = times_of(train)
        moments, held = Moments.of(train, times), Moments.of(validation, times)
        mean, ridge = self._linear(moments, held)
        features = features_of(moments, self.encoding)
        start = constant_variance(features, residual_variance(mean, moments))
        seen = Residuals(train, features, mean)
        noise, noise_ridge = self._noise(seen, Residuals(validation, features, mean), start)
        own = autoregression(moments, by_position=self.density == "discrete")
        for _ in range(self.rounds):
            mean = reweighted(mean, noise, seen, ridge=ridge, towards=own)
            seen = Residuals(train, features, mean)
            noise = log_linear_noise(seen, noise.weight, noise_ridge)
        noise = noise.correlated(NoiseSpec(self.noise), seen).to(torch.float32)
        return Fit(self._law(mean.to(torch.float32), noise, dt_of(train)))

    def _linear(self, train: Moments, validation: Moments) -> tuple[AdditiveMean, float]:
        """Least squares with the penalty on A that predicts validation best."""
        terms = Terms(state=True, position=self.density == "discrete")
        ridges = RIDGES if self.ridge is None else (self.ridge,)
        means = [selected(train, validation, terms, ridge=ridge) for ridge in ridges]
        losses = [float(residual_variance(mean, validation).log().sum()) for mean in means]
        best = losses.index(min(losses))
        return means[best], ridges[best]

    def _noise(
        self, seen: Residuals, held: Residuals, start: Tensor
    ) -> tuple[LogLinearNoise, float]:
        """The noise with the penalty on its slopes that predicts validation best."""
        found: list[tuple[LogLinearNoise, float]] = []
        for ridge in NOISE_RIDGES if self.noise_ridge is None else (self.noise_ridge,):
            noise = log_linear_noise(seen, start, ridge)
            found.append((noise, ridge))
            start = noise.weight
        return min(found, key=lambda pair: pair[0].nats(held))

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> KernelSDE:
        mean, noise = group_of(dict(tensors), "mean"), group_of(dict(tensors), "noise")
        restored = LogLinearNoise.restore(noise, self.encoding, NoiseSpec(self.noise))
        return self._law(AdditiveMean(**mean), restored, config["dt"])

    def _law(self, mean: AdditiveMean, noise: LogLinearNoise, dt: float) -> KernelSDE:
        diagonal = noise.correlation is None
        return KernelSDE(mean, noise, dt=dt, density=self.density, diagonal=diagonal)
