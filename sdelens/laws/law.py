"""Interfaces for the law of the next state given the past."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.laws.scale import Scale
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator


class Predictive(ABC):
    """Distribution of the next state for each element of a batch."""

    @property
    @abstractmethod
    def mean(self) -> Float[Tensor, "*batch dim"]:
        """The expected next state."""

    @abstractmethod
    def covariance(self) -> Scale:
        """The covariance of the next state, as a `Scale`."""

    @abstractmethod
    def log_density(self, following: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Log density of the observed next state, in nats."""

    @abstractmethod
    def sample(self, seed: int) -> Float[Tensor, "*batch dim"]:
        """Draw one sample per element of the batch."""


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
    """Conditional law of the next state given the states and tokens so far."""

    @abstractmethod
    def predict(self, past: Trajectories) -> Predictive:
        """Predict the next state after each state of a block, with batch shape ``[path time]``.

        A prediction may depend on the states and tokens up to and including its own time, but not
        on later ones.
        """

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """All fitted tensors by name, as saved and passed to `restore`."""

    @property
    def variants(self) -> dict[str, "Law"]:
        """Other laws of the same fit by name, which are scored as well."""
        return {}

    @property
    def constant_noise(self) -> bool:
        """Whether the noise is known to be the same in every state."""
        return False


class Mean(ABC):
    """Expected next state given the time, state and token."""

    @abstractmethod
    def __call__(
        self,
        t: Float[Tensor, "*batch"],
        x: Float[Tensor, "*batch dim"],
        token: Int[Tensor, "*batch"],
    ) -> Float[Tensor, "*batch dim"]:
        """Compute E[X'| t, x, token]."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """All fitted tensors by name."""


class Noise(ABC):
    """Noise of one step given the time and state."""

    @property
    def constant(self) -> bool:
        """Whether the noise is known to be the same in every state."""
        return False

    @abstractmethod
    def __call__(self, t: Float[Tensor, "*batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        """A scale whose covariance is Cov[X'| t, x]."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """All fitted tensors by name."""


@dataclass(frozen=True, eq=False)
class Kernel(Law):
    """A Gaussian transition kernel: a mean, which may depend on the token, and a noise."""

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
    """Merge dictionaries into one with names ``group.name``."""
    return {f"{group}.{name}": t for group, named in groups.items() for name, t in named.items()}


def group_of(tensors: dict[str, Tensor], group: str) -> dict[str, Tensor]:
    """The tensors ``group.name`` by their name within the group; the inverse of `prefixed`."""
    start = f"{group}."
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
