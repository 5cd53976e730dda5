"""The law of the next state given the past: what scores, calibration and horizons speak to."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.laws.scale import Scale
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator


class Predictive(ABC):
    """A distribution of the next state, one per element of a batch."""

    @property
    @abstractmethod
    def mean(self) -> Float[Tensor, "*batch dim"]:
        """Its expectation."""

    @abstractmethod
    def covariance(self) -> Scale:
        """Its covariance, as a `Scale`."""

    @abstractmethod
    def log_density(self, following: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Log density at the state that followed, in nats."""

    @abstractmethod
    def sample(self, seed: int) -> Float[Tensor, "*batch dim"]:
        """One draw for each element of the batch."""


@dataclass(frozen=True, eq=False)
class Gaussian(Predictive):
    """A normal distribution."""

    centre: Float[Tensor, "*batch dim"]
    scale: Scale

    @property
    def mean(self) -> Float[Tensor, "*batch dim"]:
        return self.centre

    def covariance(self) -> Scale:
        return self.scale

    def log_density(self, following: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        return self.scale.log_density(following - self.centre)

    def sample(self, seed: int) -> Float[Tensor, "*batch dim"]:
        random = generator(seed, "sample", device=self.centre.device)
        noise = torch.randn(
            *self.centre.shape[:-1],
            self.scale.channels,
            generator=random,
            dtype=self.centre.dtype,
            device=self.centre.device,
        )
        return self.centre + self.scale.apply(noise)


class Law(ABC):
    """The conditional law of the next state given states and tokens so far."""

    @abstractmethod
    def predict(self, past: Trajectories) -> Predictive:
        """The law of what follows each state of a block, batch shape ``[path time]``.

        It may use all states and tokens up to and including that one, and nothing later.
        """

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Everything that was fitted, by name: what is saved, and what `restore` is given."""

    @property
    def variants(self) -> dict[str, "Law"]:
        """Further laws of the same fit, by name, that are scored beside it."""
        return {}

    @property
    def constant_noise(self) -> bool:
        """Whether its noise is known to be the same in every state."""
        return False


class Mean(ABC):
    """The expectation of the next state given time, state and token."""

    @abstractmethod
    def __call__(
        self,
        t: Float[Tensor, "*batch"],
        x: Float[Tensor, "*batch dim"],
        token: Int[Tensor, "*batch"],
    ) -> Float[Tensor, "*batch dim"]:
        """E[X'| t, x, token]."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What was fitted, by name."""


class Noise(ABC):
    """The noise of one step given time and state."""

    @property
    def constant(self) -> bool:
        """Whether it is known to be the same in every state."""
        return False

    @abstractmethod
    def __call__(self, t: Float[Tensor, "*batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        """A scale whose covariance is Cov[X'| t, x]."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What was fitted, by name."""


@dataclass(frozen=True, eq=False)
class Kernel(Law):
    """A discrete Gaussian kernel: a mean, which may see the token, and a noise."""

    mean: Mean
    noise: Noise

    def predict(self, past: Trajectories) -> Gaussian:
        t = past.times.expand(past.mask.shape)
        return Gaussian(self.mean(t, past.states, past.tokens), self.noise(t, past.states))

    @property
    def constant_noise(self) -> bool:
        return self.noise.constant

    def tensors(self) -> dict[str, Tensor]:
        return prefixed(mean=self.mean.tensors(), noise=self.noise.tensors())


def prefixed(**groups: dict[str, Tensor]) -> dict[str, Tensor]:
    """One dictionary with names ``group.name``."""
    return {f"{group}.{name}": t for group, named in groups.items() for name, t in named.items()}


def group_of(tensors: dict[str, Tensor], group: str) -> dict[str, Tensor]:
    """The tensors ``group.name``, by name: the inverse of `prefixed`."""
    start = f"{group}."
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
