"""The networks of the neural probe: a stack of drifts and noises around a closed-form start."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.estimation.additive import AdditiveMean
from sdelens.estimation.noise import NoiseFeatures, StateDependentNoise
from sdelens.estimation.optimise import ParameterGroup
from sdelens.laws.law import Mean, group_of, prefixed
from sdelens.laws.network import Network
from sdelens.laws.splitting import Linear
from sdelens.paths.trajectories import Transitions
from sdelens.seeds import generator


@dataclass(frozen=True)
class Size:
    """Hidden layers of drift and noise, and their training settings."""

    width: int
    noise_width: int
    batch: int
    rate: float
    weight_decay: float


def size_for(*, discrete: bool, dim: int | None) -> Size:
    """Default sizes for a discrete kernel, or for a diffusion of a given dimension."""
    if discrete:
        return Size(384, 256, batch=512, rate=4e-3, weight_decay=0.01)
    if dim is not None and dim <= 2:
        # tails are learned late and are sensitive to noisy gradients
        return Size(32, 16, batch=2048, rate=1e-2, weight_decay=0.01)
    # coefficients are smooth, and the data tell little of a drift
    return Size(64, 32, batch=512, rate=4e-3, weight_decay=0.3)


@dataclass(frozen=True, eq=False)
class NeuralMean(Mean):
    """A linear path plus a network: ``A x + c_t + B f + h(f)`` with features f of x and t."""

    linear: AdditiveMean
    direct: Float[Tensor, "feature dim"]
    """B, the change of the linear path in training."""
    network: Network
    features: NoiseFeatures

    def __call__(
        self,
        t: Float[Tensor, "*batch"],
        x: Float[Tensor, "*batch dim"],
        token: Int[Tensor, "*batch"],
    ) -> Float[Tensor, "*batch dim"]:
        seen = self.features(t, x)
        return self.linear(t, x, token) + seen @ self.direct + self.network(seen)

    def tensors(self) -> dict[str, Tensor]:
        return {"direct": self.direct} | prefixed(
            linear=self.linear.tensors(),
            network=self.network.tensors(),
            features=self.features.tensors(),
        )

    @property
    def linear_drift(self) -> Linear:
        """The increment predicted by the closed-form start."""
        matrix = self.linear.matrix
        return Linear(matrix - torch.eye(len(matrix)).to(matrix), self.linear.by_time[0])

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], waves: int) -> "NeuralMean":
        """The inverse of `tensors`."""
        return cls(
            AdditiveMean(**group_of(tensors, "linear")),
            tensors["direct"],
            Network.restore(group_of(tensors, "network")),
            NoiseFeatures.restore(group_of(tensors, "features"), waves),
        )


def spread(network: Network, seed: int) -> Network:
    """The network with random hidden biases and doubled weights.

    With zero biases all units bend at the mean of the data, and in few dimensions the tails of a
    drift are then learned slowly.
    """
    random = generator(seed, "biases")
    place = network.biases[0].device
    *hidden, last = network.biases
    biases = [torch.randn(bias.shape, generator=random).to(place) for bias in hidden]
    *inner, out = network.weights
    return Network((*(2 * weight for weight in inner), out), (*biases, last))


@dataclass(frozen=True, eq=False)
class Perceptrons:
    """Drifts and noises of several members along the first axis, each with its own start."""

    starts: tuple[AdditiveMean, ...]
    features: tuple[NoiseFeatures, ...]
    direct: Float[Tensor, "member feature dim"]
    drift: Network
    noise: StateDependentNoise

    @classmethod
    def joined(cls, parts: Sequence["Perceptrons"]) -> "Perceptrons":
        """Stack several members."""
        return cls(
            tuple(start for part in parts for start in part.starts),
            tuple(features for part in parts for features in part.features),
            torch.cat([part.direct for part in parts]),
            Network.joined([part.drift for part in parts]),
            StateDependentNoise.joined([part.noise for part in parts]),
        )

    @classmethod
    def start_at(
        cls,
        linear: AdditiveMean,
        features: NoiseFeatures,
        noise: StateDependentNoise,
        hidden: Sequence[int],
        *,
        smooth: bool,
        seed: int,
    ) -> "Perceptrons":
        """One member whose drift is `linear`; its networks start at zero."""
        dim, place = len(features.mean), features.mean.device
        drift = Network.stack([features.size, *hidden, dim], 1, seed, place)
        direct = torch.zeros(1, features.size, dim, device=place)
        drift = spread(drift, seed) if smooth else drift
        return cls((linear.to(torch.float32),), (features,), direct, drift, noise)

    def member(self, index: int) -> tuple[NeuralMean, StateDependentNoise]:
        """The mean and the noise of one member."""
        network = self.drift.member(index)
        mean = NeuralMean(self.starts[index], self.direct[index], network, self.features[index])
        return mean, self.noise.member(index)

    def groups(self, *, additive: bool) -> list[ParameterGroup]:
        """The optimised parameters; additive noise keeps the weights of its network at zero."""
        free = [*self.drift.biases, self.direct]
        own = self.noise.groups()[1:] if additive else self.noise.groups()
        return [ParameterGroup(self.drift.weights), ParameterGroup(free, decays=False), *own]

    def kernel_losses(self, batch: Transitions) -> dict[str, Tensor]:
        """Losses of the Gaussian kernels of all members, in one batched product."""
        seen, start = self._seen(batch)
        # a stack of one is a plain product, which is faster than a batch of one
        moved = seen @ (self.direct if seen.ndim == 3 else self.direct.squeeze(0))
        residual = batch.following - start - moved - self.drift(seen)
        nats = -self.noise.log_density(seen, residual).mean(-1) / batch.x.shape[-1]
        return {"drift": residual.square().mean((-2, -1)), "diffusion": nats}

    def _seen(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        """Features and closed-form means, for one shared batch or one batch per member."""
        if batch.t.ndim == 1:
            mean = self.starts[0](batch.t, batch.x, batch.token)
            return self.features[0](batch.t, batch.x), mean
        each = range(len(self.starts))
        features = [self.features[i](batch.t[i], batch.x[i]) for i in each]
        means = [self.starts[i](batch.t[i], batch.x[i], batch.token[i]) for i in each]
        return torch.stack(features), torch.stack(means)
