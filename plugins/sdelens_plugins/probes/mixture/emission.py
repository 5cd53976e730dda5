"""Mixtures of Gaussians as outputs of a network: Bishop, "Mixture density networks" (1994)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from sdelens.estimation.noise import NoiseFeatures
from sdelens.estimation.regimes import Regimes
from sdelens.laws.law import group_of, prefixed
from sdelens.laws.network import Network

ONE = math.log(math.e - 1)
"""The argument at which softplus is 1."""


@dataclass(frozen=True, eq=False)
class Emission:
    r"""Weights, means and standard deviations of a mixture around a mean m, or a stack of them.

    With u the outputs of a linear map and a network of the features, the logits of the weights are
    u, the means :math:`m + s u`, and the variances :math:`\ell + (s^2 - \ell)\,g(u)^2` with the
    floor :math:`\ell` and a softplus g, shifted so that :math:`g(0) = 1`.
    """

    features: NoiseFeatures
    spread: Float[Tensor, " dim"]
    """s, the standard deviation of the linear mean's residuals."""
    floor: Float[Tensor, "*member 1 dim"]
    """The smallest variance."""
    direct: Float[Tensor, "*member feature out"]
    network: Network

    def __call__(
        self,
        t: Float[Tensor, "*batch"],
        x: Float[Tensor, "*batch dim"],
        centre: Float[Tensor, "*batch dim"],
    ) -> tuple[
        Float[Tensor, "*stacked component"],
        Float[Tensor, "*stacked component dim"],
        Float[Tensor, "*stacked component dim"],
    ]:
        """Log weights, means and standard deviations."""
        seen, dim = self.features(t, x), len(self.spread)
        out = seen @ self.direct + self.network(seen)
        count = out.shape[-1] // (2 * dim + 1)
        logits, mean, raw = torch.tensor_split(out, (count, count * (1 + dim)), -1)
        mean, raw = (part.reshape(*part.shape[:-1], count, dim) for part in (mean, raw))
        floor = self.floor[..., None, :]
        above = _above(self.spread.square(), floor)
        std = (floor + above * softplus(raw + ONE).square()).sqrt()
        return logits.log_softmax(-1), centre[..., None, :] + self.spread * mean, std

    def member(self, index: int) -> "Emission":
        """Select one member of a stack."""
        return Emission(
            self.features,
            self.spread,
            self.floor[index],
            self.direct[index],
            self.network.member(index),
        )

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name."""
        own = {"spread": self.spread, "floor": self.floor, "direct": self.direct}
        return own | prefixed(network=self.network.tensors(), features=self.features.tensors())

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], waves: int) -> "Emission":
        """The inverse of `tensors`."""
        return cls(
            NoiseFeatures.restore(group_of(tensors, "features"), waves),
            tensors["spread"],
            tensors["floor"],
            tensors["direct"],
            Network.restore(group_of(tensors, "network")),
        )

    @classmethod
    def stack(
        cls,
        features: NoiseFeatures,
        spread: Float[Tensor, " dim"],
        floor: Float[Tensor, "member dim"],
        start: Regimes,
        logits: Float[Tensor, "member component"],
        hidden: Sequence[int],
        seed: int,
    ) -> "Emission":
        """One member per floor, initially a mixture that does not depend on the state."""
        gain = (start.variance - floor[:, None]) / _above(spread.square(), floor)[:, None]
        root = gain.clamp(min=1e-4).sqrt()
        raw = root + torch.log(-torch.expm1(-root)) - ONE  # the inverse of softplus
        means = start.coefficients.squeeze(-2) / spread
        last = torch.cat([logits, means.flatten(1), raw.flatten(1)], 1).to(spread)
        members, out = last.shape
        network = Network.stack([features.size, *hidden, out], 1, seed, spread.device)
        weights = tuple(weight.repeat(members, 1, 1) for weight in network.weights)
        biases = (bias.repeat(members, 1, 1) for bias in network.biases[:-1])
        return cls(
            features,
            spread,
            floor[:, None],
            torch.zeros(members, features.size, out, device=spread.device),
            Network(weights, (*biases, last[:, None])),
        )


def _above(variance: Tensor, floor: Tensor) -> Tensor:
    """The part of each coordinate's residual variance above the floor."""
    return (variance - floor).clamp(min=1e-4 * variance)
