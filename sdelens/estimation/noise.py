r"""State-dependent noise around any mean.

The covariance is :math:`S = \mathrm{diag}(s)\,R\,\mathrm{diag}(s)` with a constant correlation R
(the identity, low rank plus diagonal, or full) and :math:`s(x,t) = \epsilon +
s_0\,\mathrm{softplus}(c + h(x,t))` with a network h; :math:`s_0` is the standard deviation of the
residuals of the mean. The floor :math:`\epsilon` keeps densities bounded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from sdelens.estimation.additive import ROUNDING, Moments, mean_squares
from sdelens.estimation.optimise import ParameterGroup, Schedule, minimise
from sdelens.laws.constant_correlation import ConstantCorrelation
from sdelens.laws.constant_noise import ConstantNoise as ConstantNoise
from sdelens.laws.constant_noise import NoiseSpec as NoiseSpec
from sdelens.laws.law import Mean, Noise, group_of, prefixed
from sdelens.laws.network import Clock, Network
from sdelens.laws.scale import DiagonalScale, Scale, ScaledCorrelation
from sdelens.paths.trajectories import Paths, Transitions
from sdelens.protocols import Watch, ignore_epoch
from sdelens.seeds import derive

FLOOR = 0.02
"""Minimum scale, relative to the standard deviation of the states; the same for all means."""


@dataclass(frozen=True, eq=False)
class NoiseFeatures:
    """Inputs of the networks: the standardised state and a Fourier encoding of the time."""

    mean: Float[Tensor, "*member dim"]
    std: Float[Tensor, "*member dim"]
    clock: Clock

    @property
    def size(self) -> int:
        """The number of features."""
        return self.mean.shape[-1] + self.clock.size

    @classmethod
    def joined(cls, members: Sequence["NoiseFeatures"]) -> "NoiseFeatures":
        """Stack the features of several data sets; `member` returns one of them."""
        means = torch.stack([each.mean for each in members])
        return cls(means, torch.stack([each.std for each in members]), members[0].clock)

    def member(self, index: int) -> "NoiseFeatures":
        """The features of one data set; the members of a stack may share them."""
        if self.mean.ndim == 1:
            return self
        return NoiseFeatures(self.mean[index], self.std[index], self.clock)

    def __call__(
        self, t: Float[Tensor, "*batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch feature"]:
        return torch.cat([(x - self.mean) / self.std, self.clock(t)], dim=-1)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, as saved."""
        span = torch.tensor([self.clock.first, self.clock.last], dtype=torch.float64)
        return {"mean": self.mean, "std": self.std, "clock": span}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], waves: int) -> "NoiseFeatures":
        """Restore from the result of `tensors`."""
        first, last = tensors["clock"].tolist()
        return cls(tensors["mean"], tensors["std"], Clock(first, last, waves))


def features_of(moments: Moments, waves: int) -> NoiseFeatures:
    """Features for the mean, standard deviation and times of the training states."""
    mean = moments.position_x.sum(0) / moments.count
    squares = mean_squares(moments.xx) / moments.count
    std = (squares - mean.square()).maximum(ROUNDING * squares).sqrt()
    clock = Clock(float(moments.times[0]), float(moments.times[-1]), waves)
    return NoiseFeatures(mean.float(), std.float(), clock)


@dataclass(frozen=True, eq=False)
class StateDependentNoise(Noise):
    """Noise with standard deviations from a network and an optional constant correlation."""

    features: NoiseFeatures
    base: Float[Tensor, "*member dim"]
    network: Network
    correlation: ConstantCorrelation | None = None

    @property
    def diagonal(self) -> bool:
        """Whether coordinates are independent."""
        return self.correlation is None

    def __call__(self, t: Float[Tensor, "*batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        return self.around(self.std(self.features(t, x)))

    def std(self, features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*stacked dim"]:
        """Standard deviations, which equal `base` plus the floor if the network is zero."""
        one = math.log(math.e - 1)  # softplus(one) = 1
        base, floor = self.base, FLOOR * self.features.std
        if base.shape[-1] == 1:  # one output for all coordinates: scalar noise
            floor = floor.square().mean(-1, keepdim=True).sqrt()
        base, floor = (t if t.ndim == 1 else t[:, None] for t in (base, floor))
        std = floor + base * softplus(self.network(features) + one)
        return std.expand(*std.shape[:-1], self.features.std.shape[-1])

    def around(self, std: Float[Tensor, "*stacked dim"]) -> Scale:
        """The scale with the given standard deviations and the constant correlation."""
        if self.correlation is None:
            return DiagonalScale(std)
        return ScaledCorrelation(std, self.correlation.scale())

    def member(self, index: int) -> "StateDependentNoise":
        """One member of a stack."""
        correlation = self.correlation and self.correlation.member(index)
        features, network = self.features.member(index), self.network.member(index)
        return StateDependentNoise(features, self.base[index], network, correlation)

    @classmethod
    def joined(cls, stacks: Sequence["StateDependentNoise"]) -> "StateDependentNoise":
        """Concatenate stacks of one member each, fitted to different data."""
        shapes = [stack.correlation.member(0) for stack in stacks if stack.correlation]
        return cls(
            NoiseFeatures.joined([stack.features for stack in stacks]),
            torch.cat([stack.base for stack in stacks]),
            Network.joined([stack.network for stack in stacks]),
            ConstantCorrelation.stack(shapes),
        )

    def log_density(
        self,
        features: Float[Tensor, "*member batch feature"],
        residual: Float[Tensor, "stack batch dim"],
    ) -> Float[Tensor, "stack batch"]:
        """Log density of residuals; in a stack, of the residuals of each member."""
        std = self.std(features)
        if self.correlation is None:
            return DiagonalScale(std).log_density(residual)
        members = range(len(residual))
        return torch.stack(
            [self.member(i).around(std[i]).log_density(residual[i]) for i in members]
        )

    def groups(self) -> list[ParameterGroup]:
        """Parameters to optimise; weights learn slowly, since a scale overfits before a mean."""
        shared = list(self.correlation.free.values()) if self.correlation else []
        biases = [*self.network.biases, *shared]
        return [
            ParameterGroup(self.network.weights, rate=0.3),
            ParameterGroup(biases, decays=False),
        ]

    def tensors(self) -> dict[str, Tensor]:
        own = {"base": self.base} | (self.correlation.free if self.correlation else {})
        return own | prefixed(network=self.network.tensors(), features=self.features.tensors())

    @classmethod
    def restore(
        cls, tensors: dict[str, Tensor], waves: int, spec: NoiseSpec
    ) -> "StateDependentNoise":
        """Restore from the result of `tensors`."""
        features = group_of(tensors, "features")
        free = {name: t for name, t in tensors.items() if name != "base" and "." not in name}
        family = spec.family(len(features["mean"]))
        return cls(
            NoiseFeatures.restore(features, waves),
            tensors["base"],
            Network.restore(group_of(tensors, "network")),
            ConstantCorrelation(family, free) if free else None,
        )

    @classmethod
    def stack(
        cls,
        spec: NoiseSpec,
        features: NoiseFeatures,
        covariances: Sequence[Float[Tensor, "dim dim"]],
        hidden: Sequence[int],
        seed: int,
    ) -> "StateDependentNoise":
        """One member per residual covariance, initialised at its constant noise."""
        family = spec.family(len(features.mean))
        starts = [ConstantNoise.of(spec, covariance).scale for covariance in covariances]
        base = torch.stack([scale.variance().sqrt() for scale in starts])
        if family.isotropic:
            base = base[:, :1]
        sizes = [features.size, *hidden, base.shape[-1]]
        network = Network.stack(sizes, len(starts), seed, features.mean.device)
        pairs = zip(starts, base, strict=True)
        around = [ConstantCorrelation.of(family, start, std) for start, std in pairs]
        shapes = [correlation for correlation in around if correlation]
        return cls(features, base, network, ConstantCorrelation.stack(shapes))


def fit_noise(
    spec: NoiseSpec,
    means: Sequence[Mean],
    covariances: Sequence[Float[Tensor, "dim dim"]],
    features: NoiseFeatures,
    train: Paths,
    validation: Paths,
    *,
    hidden: Sequence[int],
    schedule: Schedule,
    seed: int,
    watch: Watch = ignore_epoch,
) -> list[StateDependentNoise]:
    """Fit state-dependent noise around several fixed means in one batched computation."""
    stack = StateDependentNoise.stack(spec, features, covariances, hidden, derive(seed, "noise"))
    dim = len(features.mean)

    def losses(batch: Transitions) -> dict[str, Tensor]:
        with torch.no_grad():
            residual = torch.stack(
                [batch.following - mean(batch.t, batch.x, batch.token) for mean in means]
            )
        nats = stack.log_density(features(batch.t, batch.x), residual)
        return {"diffusion": -nats.mean(-1) / dim}

    minimise(stack.groups(), losses, train, validation, schedule, seed=seed, watch=watch)
    return [stack.member(index) for index in range(len(means))]
