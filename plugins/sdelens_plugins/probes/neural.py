"""Drift and diffusion by neural networks, trained on the exact Gaussian transition likelihood."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.additive import AdditiveMean, Moments, Terms, second_moment, selected, times_of
from sdelens.baselines import Effort
from sdelens.law import Mean, group_of, prefixed
from sdelens.network import Network
from sdelens.noise import Features, NoiseSpec, StateDependentNoise, features_of
from sdelens.optimise import Group, Schedule, minimise
from sdelens.protocols import Fit, Watch
from sdelens.sde import KernelSDE
from sdelens.seeds import derive
from sdelens.trajectories import Paths, Transitions, dt_of


@dataclass(frozen=True, eq=False)
class NeuralMean(Mean):
    """A linear path and a network beside it: ``A x + c_t + B f + h(f)``, f features of x and t."""

    linear: AdditiveMean
    direct: Float[Tensor, "feature dim"]
    """B: how far training moved the linear path."""
    network: Network
    features: Features

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


@dataclass(frozen=True)
class NeuralProbe:
    r"""Drift and diffusion as multilayer perceptrons of the state and a Fourier encoding of time.

    The drift has a linear path, which starts at the least-squares solution, so that the network
    begins as the linear probe and moves away only as far as validation documents gain by it. The
    diffusion is a softplus scale with a floor, ``diagonal`` or around a constant correlation
    (``correlated:k``). Both are trained together by maximising
    :math:`\log N(X'; m(X,t), S(X,t))`. Under ``euler`` neither depends on time.
    """

    densities: ClassVar[tuple[str, ...]] = ("discrete", "euler")

    density: Literal["discrete", "euler"] = "discrete"
    noise: str = "diagonal"
    width: int = 384
    noise_width: int = 256
    depth: int = 2
    waves: int = 4
    epochs: int = 10
    batch: int = 512
    rate: float = 4e-3
    weight_decay: float = 0.01
    least_steps: int = 2000
    patience: int = 5

    def __post_init__(self) -> None:
        NoiseSpec(self.noise)  # a form that is none is an error before any work

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        times = times_of(train)
        moments, held = Moments.of(train, times), Moments.of(validation, times)
        linear = selected(moments, held, Terms(state=True, position=self.density == "discrete"))
        features = features_of(moments, self.encoding)
        place = features.mean.device
        sizes = [features.size, *[self.width] * self.depth, moments.dim]
        network = Network.stack(sizes, 1, derive(seed, "mean"), place)
        noise = StateDependentNoise.stack(
            NoiseSpec(self.noise),
            features,
            [second_moment(linear, moments)],
            [self.noise_width] * self.depth,
            derive(seed, "noise"),
        )
        start = linear.to(torch.float32)
        direct = torch.zeros(1, features.size, moments.dim, device=place)

        def losses(batch: Transitions) -> dict[str, Tensor]:
            seen = features(batch.t, batch.x)
            mean = start(batch.t, batch.x, batch.token) + seen @ direct.squeeze(0)
            residual = batch.following - mean - network(seen)
            nats = -noise.log_density(seen, residual).mean(-1) / moments.dim
            squares = residual.square().mean((-2, -1))
            return {"drift": squares, "diffusion": nats}

        free = [*network.biases, direct]
        groups = [Group(network.weights), Group(free, decays=False), *noise.groups()]
        history = minimise(
            groups, losses, train, validation, self.schedule, seed=seed, watch=watch
        )
        mean = NeuralMean(start, direct[0], network.member(0), features)
        return Fit(self._law(mean, noise.member(0), dt_of(train)), history)

    @property
    def encoding(self) -> int:
        """Waves in the encoding of time: none for ``euler``, whose coefficients are autonomous."""
        return self.waves if self.density == "discrete" else 0

    @property
    def effort(self) -> Effort:
        """The baselines' noise is of the same structure and size, and trained alike."""
        hidden = (self.noise_width,) * self.depth
        return Effort(NoiseSpec(self.noise), hidden, self.encoding, self.schedule)

    @property
    def schedule(self) -> Schedule:
        """How it is optimised."""
        return Schedule(
            epochs=self.epochs,
            batch=self.batch,
            rate=self.rate,
            weight_decay=self.weight_decay,
            least_steps=self.least_steps,
            patience=self.patience,
        )

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> KernelSDE:
        mean, noise = group_of(dict(tensors), "mean"), group_of(dict(tensors), "noise")
        return self._law(
            NeuralMean(
                AdditiveMean(**group_of(mean, "linear")),
                mean["direct"],
                Network.restore(group_of(mean, "network")),
                Features.restore(group_of(mean, "features"), self.encoding),
            ),
            StateDependentNoise.restore(noise, self.encoding),
            config["dt"],
        )

    def _law(self, mean: NeuralMean, noise: StateDependentNoise, dt: float) -> KernelSDE:
        diagonal = NoiseSpec(self.noise).name == "diagonal"
        return KernelSDE(mean, noise, dt=dt, density=self.density, diagonal=diagonal)
