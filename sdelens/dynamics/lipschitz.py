r"""Upper bounds of the Lipschitz constants of drift and noise, from the weights.

For a perceptron with weights :math:`W_1 \ldots W_n` between SiLUs, whose slope is at most
:math:`1.09984`, the product :math:`1.09984^{n-1}\prod_i \|W_i\|_2` bounds the slope everywhere
(Szegedy et al. 2014). The bound is often far too large, whereas sampled slopes may be too small.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.additive import AdditiveMean
from sdelens.estimation.noise import NoiseFeatures, StateDependentNoise
from sdelens.laws.coefficient_sde import CoefficientSDE
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.law import Mean, Noise
from sdelens.laws.network import Network
from sdelens.laws.sde import SDE, KernelSDE, LinearSDE

SILU = 1.0998393194985566
"""The largest slope of SiLU, at 2.3994."""


@runtime_checkable
class Perceptron(Protocol):
    """A mean ``A x + c_t + B f + h(f)``, f the standardised state and an encoding of time."""

    linear: AdditiveMean
    direct: Float[Tensor, "feature dim"]
    network: Network
    features: NoiseFeatures


@dataclass(frozen=True)
class Bound:
    """A global Lipschitz constant; None if no bound is known."""

    value: float | None
    exact: bool = False
    """Whether the bound is attained, so that it equals the sampled maximum."""


def norm(matrix: Float[Tensor, "out into"]) -> float:
    """The largest singular value."""
    return float(torch.linalg.matrix_norm(matrix.double(), ord=2))


def network_bound(
    network: Network,
    into: Float[Tensor, " into"],
    out: Float[Tensor, " out"],
) -> float:
    """Bound of a network with leading inputs scaled by `into` and outputs scaled by `out`.

    The remaining inputs, an encoding of time, are constant.
    """
    weights = [weight.double() for weight in network.weights]
    weights[0] = weights[0][: len(into)] * into.double()[:, None]
    weights[-1] = weights[-1] * out.double()
    return SILU ** (len(weights) - 1) * math.prod(norm(weight) for weight in weights)


def drift_bound(sde: SDE) -> Bound:
    """Lipschitz bound of the drift, per unit of time."""
    if isinstance(sde, LinearSDE):
        return Bound(norm(sde.matrix), exact=True)
    kernel = sde.euler if isinstance(sde, CoefficientSDE) else sde
    return _of_mean(kernel.mean, kernel.dt) if isinstance(kernel, KernelSDE) else Bound(None)


def _of_mean(mean: Mean, dt: float) -> Bound:
    """Lipschitz bound of ``(m(x) - x)/dt``."""
    if isinstance(mean, AdditiveMean):
        return Bound(norm(mean.matrix - torch.eye(len(mean.matrix)).to(mean.matrix)) / dt, True)
    if not isinstance(mean, Perceptron):
        return Bound(None)
    matrix, scale = mean.linear.matrix, 1 / mean.features.std
    direct = (mean.direct[: len(scale)] * scale[:, None]).mT
    straight = norm(matrix + direct - torch.eye(len(matrix)).to(matrix))
    return Bound((straight + network_bound(mean.network, scale, torch.ones_like(scale))) / dt)


def noise_bound(sde: SDE) -> Bound:
    r"""Lipschitz bound of :math:`\sigma` in the Frobenius norm, per square root of time."""
    if isinstance(sde, LinearSDE):
        return Bound(0.0, exact=True)
    kernel = sde.euler if isinstance(sde, CoefficientSDE) else sde
    return _of_noise(kernel.noise, kernel.dt) if isinstance(kernel, KernelSDE) else Bound(None)


def _of_noise(noise: Noise, dt: float) -> Bound:
    if isinstance(noise, ConstantNoise):
        return Bound(0.0, exact=True)
    if not isinstance(noise, StateDependentNoise):
        return Bound(None)
    # a row of diag(s) C is as long as that of C, times s; softplus has slopes up to 1
    rows = torch.ones_like(noise.features.std)
    if noise.correlation is not None:
        rows = noise.correlation.scale().variance().sqrt()
    out = noise.base * (rows if noise.base.shape[-1] > 1 else rows.norm().expand(1))
    return Bound(network_bound(noise.network, 1 / noise.features.std, out) / math.sqrt(dt))
