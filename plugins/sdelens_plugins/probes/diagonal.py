"""An independent autoregression of every coordinate, with constant noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import BadNumbers, UsageError
from sdelens.estimation.additive import (
    ROUNDING,
    AdditiveMean,
    mean_squares,
    residual_variance,
    second_moment,
)
from sdelens.estimation.centred import Centred
from sdelens.estimation.selection import RIDGES, SHRINKAGES
from sdelens.estimation.timed import noise_around
from sdelens.fitting.baselines import Effort
from sdelens.laws.constant_noise import ConstantNoise, NoiseSpec
from sdelens.laws.law import group_of
from sdelens.laws.sde import SDE, KernelSDE, LinearSDE
from sdelens.laws.timed_noise import StatelessNoise, restored_noise
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import Paths, dt_of
from sdelens.protocols import Fit, Watch
from sdelens.settings import require_at_least


@dataclass(frozen=True)
class DiagonalProbe:
    r""":math:`E[X_i'|x,t] = a_i x_i + c_{i,t}` with constant noise: coordinates do not interact.

    `discrete`: a kernel with an intercept for each position. `exact`: an Ornstein-Uhlenbeck
    process per coordinate, with the rate :math:`\log a_i/dt` and one intercept (`BadNumbers`
    where :math:`a_i \le 0`). `noise` is ``scalar``, ``diagonal``, ``correlated:k`` or ``full``,
    in a kernel with ``@time`` after it for deviations of each time.
    `ridge` divides each :math:`a_i` of least squares by 1 + ridge; None chooses it on validation.
    """

    densities: ClassVar[tuple[str, ...]] = ("discrete", "exact")
    looks_back: ClassVar[bool] = False

    density: Literal["discrete", "exact"] = "discrete"
    ridge: float | None = None
    noise: str = "diagonal"

    def __post_init__(self) -> None:
        require_at_least(self, ridge=0)
        spec = NoiseSpec.parse(self.noise)  # raises for an invalid noise family before any work
        if spec.by_time and self.density == "exact":
            raise UsageError(
                f"the coefficients of an exact density do not depend on time, but noise is "
                f"{self.noise!r}: use noise={spec.name} or density=discrete"
            )

    def effort(self, dim: int) -> Effort:
        """Baselines get noise of the same structure."""
        del dim
        return Effort(NoiseSpec.parse(self.noise))

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        del seed, watch  # closed form
        times = times_of(train)
        moments, held = Moments.of(train, times), Moments.of(validation, times)
        mean = self._mean(moments, held)
        dt = dt_of(train)
        spec = NoiseSpec.parse(self.noise)
        if self.density == "discrete":
            noise = noise_around(spec, mean, moments, train)
            return Fit(self._kernel(mean.to(torch.float32), noise, dt))
        covariance = ConstantNoise.of(spec, second_moment(mean, moments)).scale.covariance()
        require_positive(mean.matrix.diagonal())
        exact = LinearSDE.from_step(mean.matrix, mean.by_time[0], covariance, dt).tensors()
        return Fit(LinearSDE(**{name: t.float() for name, t in exact.items()}, dt=dt))

    def _mean(self, train: Moments, validation: Moments) -> AdditiveMean:
        """The mean with the penalty, shared by all coordinates, that predicts validation best."""
        position = self.density == "discrete"
        ridges = RIDGES if self.ridge is None else (self.ridge,)
        fits = [
            on_itself(Centred.of(train, position=position, shrinkage=shrinkage), ridge)
            for shrinkage, ridge in product(SHRINKAGES if position else SHRINKAGES[:1], ridges)
        ]
        losses = [float(residual_variance(m, validation).log().sum()) for m in fits]
        return fits[losses.index(min(losses))]

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SDE:
        if self.density == "exact":
            return LinearSDE(**dict(tensors), dt=config["dt"])
        mean, noise = group_of(dict(tensors), "mean"), group_of(dict(tensors), "noise")
        return self._kernel(
            AdditiveMean(**mean), restored_noise(NoiseSpec.parse(self.noise), noise), config["dt"]
        )

    def _kernel(self, mean: AdditiveMean, noise: StatelessNoise, dt: float) -> KernelSDE:
        return KernelSDE(mean, noise, dt=dt, density="discrete", diagonal=noise.diagonal)


def on_itself(centred: Centred, ridge: float) -> AdditiveMean:
    """Least squares of every coordinate on itself, with coefficients divided by 1 + ridge."""
    square = centred.xx.diagonal()
    least = ROUNDING * mean_squares(centred.moments.xx)  # a constant has no coefficient
    slope = centred.xy.diagonal() / square.maximum(least) / (1 + ridge)
    return centred.mean(slope.diag())


def require_positive(slope: Float[Tensor, " dim"]) -> None:
    """Raise `BadNumbers` for negative coefficients, which no Ornstein-Uhlenbeck process has."""
    bad = (slope <= 0).nonzero()[:, 0].tolist()
    if bad:
        raise BadNumbers(
            "an exact density needs a positive coefficient in every coordinate, but coordinate "
            f"{bad[0]} has {float(slope[bad[0]]):.3g} ({len(bad)} such coordinates); use "
            "density=discrete, or observe the process more often"
        )
