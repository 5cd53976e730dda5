"""Reduced-rank regression: coordinates interact through a few directions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.estimation.additive import (
    AdditiveMean,
    Terms,
    second_moment,
)
from sdelens.estimation.centred import Centred
from sdelens.estimation.selection import RIDGES, SHRINKAGES, selected
from sdelens.fitting.baselines import Effort
from sdelens.laws.constant_noise import ConstantNoise, NoiseSpec
from sdelens.laws.law import group_of
from sdelens.laws.sde import SDE, KernelSDE, LinearSDE
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import Paths, dt_of
from sdelens.protocols import Fit, Watch
from sdelens.settings import require_at_least
from sdelens_plugins.probes.low_rank.reduced_rank import LowRankMean, ReducedRank

RANKS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


@dataclass(frozen=True)
class _Choice:
    """Settings chosen on validation, one after the other."""

    rank: int = 0
    ridge: float = RIDGES[0]
    shrinkage: float = SHRINKAGES[-1]


@dataclass(frozen=True)
class LowRankProbe:
    r""":math:`E[X'|x,t] = (D + UV^\top)\,x + c_t` with constant noise; U and V have few columns.

    Fitted by maximum likelihood with noise of the structure `noise` (``scalar``, ``diagonal``,
    ``correlated:k`` or ``full``), whose covariance is that of the residuals of the full linear
    regression. D has one coefficient per coordinate (`base` ``diagonal``) or one for all
    (``scalar``); `ridge` penalises the interactions. If `rank` or `ridge` is None, validation
    chooses the simplest value within one standard error of the best.
    `discrete`: a kernel with an intercept for each position. `exact`: the linear SDE with this
    transition law, one intercept, and full noise whatever `noise` is.
    """

    densities: ClassVar[tuple[str, ...]] = ("discrete", "exact")
    looks_back: ClassVar[bool] = False

    density: Literal["discrete", "exact"] = "discrete"
    rank: int | None = None
    base: Literal["diagonal", "scalar"] = "diagonal"
    ridge: float | None = None
    noise: str = "diagonal"

    def __post_init__(self) -> None:
        NoiseSpec(self.noise)  # raises for an invalid noise family before any work
        require_at_least(self, ridge=0)
        if self.rank is not None and self.rank < 0:
            raise UsageError(f"rank must be 0 or more, got {self.rank}")
        if self.density == "exact":
            object.__setattr__(self, "noise", "full")  # record the noise that is fitted

    def effort(self, dim: int) -> Effort:
        """Baselines get noise of the same structure."""
        del dim
        return Effort(NoiseSpec(self.noise))

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        del seed, watch  # closed form
        times = times_of(train)
        moments, held = Moments.of(train, times), Moments.of(validation, times)
        mean = self._mean(moments, held)
        covariance, dt = second_moment(mean.dense(), moments), dt_of(train)
        if self.density == "exact":
            matrix = mean.dense().matrix
            exact = LinearSDE.from_step(matrix, mean.by_time[0], covariance, dt).tensors()
            return Fit(LinearSDE(**{name: t.float() for name, t in exact.items()}, dt=dt))
        noise = ConstantNoise.of(NoiseSpec(self.noise), covariance)
        return Fit(self._kernel(mean.to(torch.float32), noise, dt))

    def _mean(self, train: Moments, validation: Moments) -> LowRankMean:
        """The settings that predict validation best, chosen one after the other."""
        position = self.density == "discrete"
        covariance = self._noise_covariance(train, validation)
        weight = torch.cholesky_inverse(torch.linalg.cholesky(covariance))

        def fitted(choice: _Choice) -> LowRankMean:
            centred = Centred.of(train, position=position, shrinkage=choice.shrinkage)
            scalar = self.base == "scalar"
            return ReducedRank(centred, covariance, choice.ridge, scalar).fit(choice.rank)

        choice = _Choice()
        for name, options in self._options(train.dim, position=position).items():
            candidates = [replace(choice, **{name: option}) for option in options]
            means = [fitted(candidate) for candidate in candidates]
            choice = candidates[simplest([mean.dense() for mean in means], validation, weight)]
        return fitted(choice)

    def _options(self, dim: int, *, position: bool) -> dict[str, Sequence[Any]]:
        """Candidate values of each setting, simplest first."""
        ranks = RANKS if self.rank is None else (self.rank,)
        return {
            "shrinkage": SHRINKAGES[::-1] if position else SHRINKAGES[:1],
            "rank": sorted({min(rank, dim) for rank in ranks if rank < dim or self.rank}),
            "ridge": RIDGES[::-1] if self.ridge is None else (self.ridge,),
        }

    def _noise_covariance(self, train: Moments, validation: Moments) -> Float[Tensor, "dim dim"]:
        """Covariance of the full regression's residuals, in the structure of the noise."""
        terms = Terms(state=True, position=self.density == "discrete")
        covariance = second_moment(selected(train, validation, terms, ridge=self.ridge), train)
        # raises for full noise of too few transitions, as of `exact`
        noise = ConstantNoise.of(NoiseSpec(self.noise), covariance, train.count)
        if self.density == "exact":
            return covariance
        return noise.scale.covariance().double()

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SDE:
        if self.density == "exact":
            return LinearSDE(**dict(tensors), dt=config["dt"])
        mean, noise = group_of(dict(tensors), "mean"), group_of(dict(tensors), "noise")
        return self._kernel(
            LowRankMean(**mean), ConstantNoise.restore(NoiseSpec(self.noise), noise), config["dt"]
        )

    def _kernel(self, mean: LowRankMean, noise: ConstantNoise, dt: float) -> KernelSDE:
        return KernelSDE(mean, noise, dt=dt, density="discrete", diagonal=noise.diagonal)


def simplest(
    means: Sequence[AdditiveMean], validation: Moments, weight: Float[Tensor, "dim dim"]
) -> int:
    r"""The first candidate whose validation loss is within one standard error of the lowest.

    The loss is the squared distance of residuals, weighted by :math:`\Sigma^{-1}`. Under noise of
    covariance :math:`\Sigma` the difference of the losses of means a and b has the standard error
    :math:`2\sqrt{\sum\|m_a-m_b\|^2_{\Sigma^{-1}}}` (the rule is that of Breiman et al. 1984).
    """

    def loss(mean: AdditiveMean) -> float:
        return validation.count * float((weight * second_moment(mean, validation)).sum())

    losses = [loss(mean) for mean in means]
    least = min(losses)
    best = means[losses.index(least)]
    # for a quadratic q, q(a) + q(b) - 2 q((a + b)/2) is half of q(a - b)
    apart = [
        2 * (a + least - 2 * loss(_middle(m, best))) for a, m in zip(losses, means, strict=True)
    ]
    near = [a - least <= 2 * max(d, 0.0) ** 0.5 for a, d in zip(losses, apart, strict=True)]
    return near.index(True)


def _middle(one: AdditiveMean, other: AdditiveMean) -> AdditiveMean:
    matrix, by_time = (one.matrix + other.matrix) / 2, (one.by_time + other.by_time) / 2
    return replace(one, matrix=matrix, by_time=by_time)
