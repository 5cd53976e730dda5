r"""The noise of one step around any mean: constant, or with a state-dependent scale.

Two structures: ``diagonal``, and ``correlated:k``, a diagonal scale around a constant correlation
of low rank plus diagonal, :math:`S = \mathrm{diag}(s)\,(D^2 + UU^\top)\,\mathrm{diag}(s)`. The
state-dependent scale is :math:`s(x,t) = s_0\,(\epsilon + \mathrm{softplus}(c + h(x,t)))` with a
network h; the floor epsilon keeps densities bounded.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from sdelens.additive import Moments
from sdelens.errors import UsageError
from sdelens.law import Mean, Noise, group_of, prefixed
from sdelens.network import Clock, Network
from sdelens.optimise import Group, Schedule, minimise
from sdelens.protocols import Watch, unwatched
from sdelens.scale import DiagonalScale, LowRankScale, Scale, ScaledCorrelation
from sdelens.seeds import derive
from sdelens.trajectories import Paths, Transitions

FLOOR = 0.2
"""The smallest scale, as a share of the residuals' own standard deviation."""


@dataclass(frozen=True)
class NoiseSpec:
    """``diagonal``, ``correlated:k``, or ``full``: as many shared factors as there can be."""

    name: str = "diagonal"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"diagonal|full|correlated:[1-9]\d*", self.name):
            raise UsageError(f"noise must be diagonal, correlated:K or full, got {self.name!r}")

    def rank(self, dim: int) -> int | None:
        """The rank of the correlation's shared part, below the dimension; None if diagonal."""
        if self.name == "diagonal" or dim == 1:
            return None
        return dim - 1 if self.name == "full" else min(int(self.name.partition(":")[2]), dim - 1)


@dataclass(frozen=True, eq=False)
class Features:
    """What the networks see: the standardised state and a Fourier encoding of the time."""

    mean: Float[Tensor, " dim"]
    std: Float[Tensor, " dim"]
    clock: Clock

    @property
    def size(self) -> int:
        """How many."""
        return len(self.mean) + self.clock.size

    def __call__(
        self, t: Float[Tensor, "*batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch feature"]:
        return torch.cat([(x - self.mean) / self.std, self.clock(t)], dim=-1)

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        span = torch.tensor([self.clock.first, self.clock.last], dtype=torch.float64)
        return {"mean": self.mean, "std": self.std, "clock": span}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], waves: int) -> "Features":
        """The inverse of `tensors`."""
        first, last = tensors["clock"].tolist()
        return cls(tensors["mean"], tensors["std"], Clock(first, last, waves))


def features_of(moments: Moments, waves: int) -> Features:
    """Standardised states and the encoding of the times seen in training."""
    mean = moments.position_x.sum(0) / moments.count
    variance = moments.xx.diagonal() / moments.count - mean.square()
    std = variance.clamp(min=1e-12 * float(variance.max())).sqrt()
    clock = Clock(float(moments.times[0]), float(moments.times[-1]), waves)
    return Features(mean.float(), std.float(), clock)


@dataclass(frozen=True, eq=False)
class ConstantNoise(Noise):
    """The same noise in every state."""

    std: Float[Tensor, " dim"]
    columns: Float[Tensor, "dim rank"] | None = None

    def __call__(self, t: Float[Tensor, "*batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        del t, x
        if self.columns is None:
            return DiagonalScale(self.std)
        return LowRankScale(self.std, self.columns)

    def tensors(self) -> dict[str, Tensor]:
        columns = {} if self.columns is None else {"columns": self.columns}
        return {"std": self.std} | columns

    @classmethod
    def of(cls, spec: NoiseSpec, covariance: Float[Tensor, "dim dim"]) -> "ConstantNoise":
        """The noise of that structure nearest in likelihood to residuals of this covariance."""
        variance = covariance.diagonal()
        tiny = 1e-12 * float(variance.max())
        root = variance.clamp(min=tiny).sqrt()
        rank = spec.rank(len(variance))
        if rank is None:
            return cls(root.float())
        unique, columns = factor_analysis(covariance / root[:, None] / root, rank)
        return cls((unique * root).float(), (columns * root[:, None]).float())


def factor_analysis(
    correlation: Float[Tensor, "dim dim"], rank: int, sweeps: int = 50
) -> tuple[Float[Tensor, " dim"], Float[Tensor, "dim rank"]]:
    r"""Unique standard deviations D and loadings U of :math:`D^2 + UU^\top`, by likelihood.

    Given D, the best U is in the leading eigenvectors of :math:`D^{-1}RD^{-1}`; given U, D follows
    from the diagonal (Lawley 1940; Joreskog 1967).
    """
    unique = torch.full_like(correlation.diagonal(), 0.5)
    columns = correlation.new_zeros(len(unique), rank)
    for _ in range(sweeps):
        root = unique.sqrt()
        values, vectors = torch.linalg.eigh(correlation / root[:, None] / root)
        gains = (values[-rank:] - 1).clamp(min=0).sqrt()
        columns = root[:, None] * vectors[:, -rank:] * gains
        before = unique
        unique = (correlation.diagonal() - columns.square().sum(-1)).clamp(min=1e-3)
        if (unique - before).abs().max() < 1e-5:
            break
    return unique.sqrt(), columns


@dataclass(frozen=True, eq=False)
class StateDependentNoise(Noise):
    """A network's diagonal scale, around a constant correlation if there is one."""

    features: Features
    base: Float[Tensor, "*member dim"]
    network: Network
    log_unique: Float[Tensor, "*member dim"] | None = None
    """Logarithms of the unique standard deviations D, which stay positive whatever the steps."""
    columns: Float[Tensor, "*member dim rank"] | None = None

    def __call__(self, t: Float[Tensor, "*batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        return self.around(self.std(self.features(t, x)))

    def std(self, features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*stacked dim"]:
        """The scale before correlation; 1 + the floor times `base` where the network is zero."""
        one = math.log(math.e - 1)  # softplus(one) = 1
        base = self.base if self.base.ndim == 1 else self.base[:, None]
        return base * (FLOOR + softplus(self.network(features) + one))

    def around(self, std: Float[Tensor, "*stacked dim"]) -> Scale:
        """A scale with these standard deviations and the constant correlation."""
        if self.log_unique is None or self.columns is None:
            return DiagonalScale(std)
        return ScaledCorrelation(std, LowRankScale(self.log_unique.exp(), self.columns))

    def member(self, index: int) -> "StateDependentNoise":
        """One of a stack."""
        return StateDependentNoise(
            self.features,
            self.base[index],
            self.network.member(index),
            None if self.log_unique is None else self.log_unique[index],
            None if self.columns is None else self.columns[index],
        )

    def log_density(
        self, features: Float[Tensor, "batch feature"], residual: Float[Tensor, "member batch dim"]
    ) -> Float[Tensor, "member batch"]:
        """Of each member's own residuals, for a stack."""
        std = self.std(features)
        if self.columns is None:
            return DiagonalScale(std).log_density(residual)
        members = range(len(residual))
        return torch.stack(
            [self.member(i).around(std[i]).log_density(residual[i]) for i in members]
        )

    def groups(self) -> list[Group]:
        """What is optimised: the weights slowly, since a scale overfits before a mean does."""
        shared = [part for part in (self.log_unique, self.columns) if part is not None]
        biases = [*self.network.biases, *shared]
        return [Group(self.network.weights, rate=0.3), Group(biases, decays=False)]

    def tensors(self) -> dict[str, Tensor]:
        own = {"base": self.base}
        if self.log_unique is not None and self.columns is not None:
            own |= {"log_unique": self.log_unique, "columns": self.columns}
        return own | prefixed(network=self.network.tensors(), features=self.features.tensors())

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], waves: int) -> "StateDependentNoise":
        """The inverse of `tensors`."""
        return cls(
            Features.restore(group_of(tensors, "features"), waves),
            tensors["base"],
            Network.restore(group_of(tensors, "network")),
            tensors.get("log_unique"),
            tensors.get("columns"),
        )

    @classmethod
    def stack(
        cls,
        spec: NoiseSpec,
        features: Features,
        covariances: Sequence[Float[Tensor, "dim dim"]],
        hidden: Sequence[int],
        seed: int,
    ) -> "StateDependentNoise":
        """One member for each residual covariance, all starting at its constant noise."""
        dim = len(features.mean)
        starts = [ConstantNoise.of(spec, covariance) for covariance in covariances]
        sizes = [features.size, *hidden, dim]
        network = Network.stack(sizes, len(starts), seed, features.mean.device)
        base = torch.stack([c.diagonal().clamp(min=1e-24).sqrt() for c in covariances]).float()
        if spec.rank(dim) is None:
            return cls(features, base, network)
        log_unique = (torch.stack([start.std for start in starts]) / base).log()
        columns = torch.stack([s.columns for s in starts if s.columns is not None])
        return cls(features, base, network, log_unique, columns / base[..., None])


def fit_noise(
    spec: NoiseSpec,
    means: Sequence[Mean],
    covariances: Sequence[Float[Tensor, "dim dim"]],
    features: Features,
    train: Paths,
    validation: Paths,
    *,
    hidden: Sequence[int],
    schedule: Schedule,
    seed: int,
    watch: Watch = unwatched,
) -> list[StateDependentNoise]:
    """State-dependent noise around each of several fixed means, in one batched computation."""
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
