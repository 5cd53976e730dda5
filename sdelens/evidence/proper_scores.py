r"""Proper scores of predicted laws at the observed next states; lower is better.

Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation" (2007).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.scale import LOG_2PI


def gaussian_crps(
    mean: Float[Tensor, "*batch dim"],
    std: Float[Tensor, "*#batch dim"],
    following: Float[Tensor, "*batch dim"],
) -> Float[Tensor, "*batch dim"]:
    r"""Continuous ranked probability score of a Gaussian, by coordinate and in its unit.

    For :math:`N(m, s^2)` and :math:`z = (y-m)/s` it is
    :math:`s\,(z(2\Phi(z)-1) + 2\varphi(z) - 1/\sqrt\pi)` (Gneiting et al. 2005, equation 5).
    """
    # scoringrules.crps_normal is the same formula with constants of lower precision
    z = (following - mean) / std
    inside: Tensor = z * torch.special.erf(z / math.sqrt(2))
    density = math.sqrt(2 / math.pi) * torch.exp(-z.square() / 2)
    return std * (inside + density - 1 / math.sqrt(math.pi))


def energy_score(
    draws: Float[Tensor, "*batch draw dim"], following: Float[Tensor, "*batch dim"]
) -> Float[Tensor, "*batch"]:
    r"""Energy score :math:`E|X-y| - \tfrac12E|X-X'|`, estimated without bias from draws.

    The estimate is a U-statistic in the unit of the states. In one dimension it is the continuous
    ranked probability score.
    """
    count = draws.shape[-2]
    # scoringrules.es_ensemble(estimator="fair") is the same, but stores all differences of draws,
    # draw x draw x dim: five times slower, and hundreds of megabytes for wide states
    off: Tensor = (draws - following[..., None, :]).norm(dim=-1).mean(-1)
    # matrix products would lose the distances of nearby draws to rounding
    apart = torch.cdist(draws, draws, compute_mode="donot_use_mm_for_euclid_dist")
    return off - apart.sum((-2, -1)) / (2 * count * (count - 1))


def moment_matched_nll(
    draws: Float[Tensor, "*batch draw dim"], following: Float[Tensor, "*batch dim"]
) -> Float[Tensor, "*batch dim"]:
    r"""Negative log density of each coordinate under a Gaussian with the moments of a law's draws.

    Plugging in the mean and variance of M draws would overestimate it by about 1/M nats. This
    estimate is unbiased for Gaussian draws, whose mean and variance are independent with
    :math:`(M-1)\hat s^2/s^2` chi-square with M - 1 degrees of freedom:
    :math:`E\log\hat s^2 = \log s^2 + \psi(\tfrac{M-1}2) - \log\tfrac{M-1}2` and
    :math:`E\,\hat s^{-2} = s^{-2}\,\tfrac{M-1}{M-3}`. It needs at least four draws.
    """
    count = draws.shape[-2]
    mean, variance = draws.mean(-2), draws.var(-2)
    half = torch.tensor((count - 1) / 2, dtype=torch.float64)
    excess = float(torch.digamma(half) - half.log())
    squares = (following - mean).square() / variance * ((count - 3) / (count - 1)) - 1 / count
    return (variance.log() - excess + squares + LOG_2PI) / 2
