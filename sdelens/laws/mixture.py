r"""Mixtures of Gaussians, :math:`\sum_k w_k N(x'; m_k, S_k)`, one per element of a batch."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.law import Gaussian, Predictive
from sdelens.laws.scale import FullScale, Scale
from sdelens.seeds import derive, generator


@dataclass(frozen=True, eq=False)
class MixtureScale(Scale):
    r"""Covariance of a mixture, :math:`\sum_k w_k (S_k + (m_k - m)(m_k - m)^\top)`.

    The noise channels are those of all components, followed by one channel per component mean.
    `apply` and `variance` form no matrix.
    """

    weights: Float[Tensor, "*batch component"]
    """Probabilities, which sum to 1, or to dt after `times`."""
    deviations: Float[Tensor, "*batch component dim"]
    scales: tuple[Scale, ...]

    @property
    def channels(self) -> int:
        return sum(scale.channels + 1 for scale in self.scales)

    def apply(self, noise: Float[Tensor, "*#batch noise"]) -> Float[Tensor, "*batch dim"]:
        sizes = [*(scale.channels for scale in self.scales), len(self.scales)]
        *own, shared = torch.split(noise, sizes, -1)
        roots = self.weights.sqrt()
        total = torch.einsum("...k,...kd->...d", roots * shared, self.deviations)
        for root, scale, part in zip(roots.unbind(-1), self.scales, own, strict=True):
            total = total + root[..., None] * scale.apply(part)
        return total

    def factor(self) -> Float[Tensor, "*batch dim noise"]:
        roots = self.weights.sqrt()[..., None]
        parts = zip(roots.unbind(-2), self.scales, strict=True)
        own = [root[..., None] * scale.factor() for root, scale in parts]
        return torch.cat([*own, (roots * self.deviations).mT], -1)

    def variance(self) -> Float[Tensor, "*batch dim"]:
        total = torch.einsum("...k,...kd->...d", self.weights, self.deviations.square())
        for weight, scale in zip(self.weights.unbind(-1), self.scales, strict=True):
            total = total + weight[..., None] * scale.variance()
        return total

    def covariance(self) -> Float[Tensor, "*batch dim dim"]:
        total = (self.weights[..., None] * self.deviations).mT @ self.deviations
        for weight, scale in zip(self.weights.unbind(-1), self.scales, strict=True):
            total = total + weight[..., None, None] * scale.covariance()
        return total

    def times(self, dt: float) -> "MixtureScale":
        return replace(self, weights=self.weights * dt)

    def log_density(self, residual: Float[Tensor, "*#batch dim"]) -> Float[Tensor, "*batch"]:
        root: Tensor = torch.linalg.cholesky(self.covariance())
        return FullScale(root).log_density(residual)


@dataclass(frozen=True, eq=False)
class Mixture(Predictive):
    """A mixture of normal distributions."""

    log_weights: Float[Tensor, "*batch component"]
    """Logarithms of the component probabilities."""
    components: tuple[Gaussian, ...]

    @property
    def mean(self) -> Float[Tensor, "*batch dim"]:
        return torch.einsum("...k,...kd->...d", self.log_weights.exp(), self._means())

    def covariance(self) -> MixtureScale:
        deviations = self._means() - self.mean[..., None, :]
        scales = tuple(component.scale for component in self.components)
        return MixtureScale(self.log_weights.exp(), deviations, scales)

    def log_density(self, following: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        own = torch.stack([c.log_density(following) for c in self.components], -1)
        density: Tensor = torch.logsumexp(self.log_weights + own, -1)
        return density

    def sample(self, seed: int) -> Float[Tensor, "*batch dim"]:
        random = generator(seed, "component", device=self.log_weights.device)
        share = self.log_weights.exp().cumsum(-1)
        point = torch.rand(share.shape[:-1], generator=random, device=share.device).to(share)
        # the total may round below the point, so the last component takes the rest
        number = (point[..., None] > share[..., :-1]).sum(-1)
        parts = [c.sample(derive(seed, k)) for k, c in enumerate(self.components)]
        chosen = number[..., None, None].expand(*number.shape, 1, parts[0].shape[-1])
        return torch.stack(parts, -2).gather(-2, chosen).squeeze(-2)

    def _means(self) -> Float[Tensor, "*batch component dim"]:
        return torch.stack([component.centre for component in self.components], -2)
