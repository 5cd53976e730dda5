"""Gain of a Gaussian mixture over a single Gaussian on standardised residuals."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.effects import Effect, paired_gain
from sdelens.evidence.nested import Sides, Standard
from sdelens.evidence.process_class import MIXTURE
from sdelens.laws.scale import LOG_2PI
from sdelens.seeds import generator

COMPONENTS = 4
MOST = 20_000
"""Maximum number of rows, evenly spaced, that the mixture is fitted to."""
SWEEPS = 60
FLOOR = 0.05
"""Minimum variance of a component relative to that of the residuals. Without it, the likelihood
of a mixture is unbounded for states that are nearly discrete."""


@dataclass(frozen=True, eq=False)
class DiagonalMixture:
    r"""Gaussian mixture :math:`\sum_k w_k N(m_k, \mathrm{diag}\, v_k)`."""

    log_weight: Float[Tensor, " component"]
    mean: Float[Tensor, "component dim"]
    variance: Float[Tensor, "component dim"]

    def joint(self, x: Float[Tensor, "row dim"]) -> Float[Tensor, "row component"]:
        """Log density of each component plus its log weight."""
        # expanded into matrix products, to avoid an array of size row x component x dim
        precision = 1 / self.variance
        constant = (self.mean.square() * precision + self.variance.log() + LOG_2PI).sum(-1)
        cross = x.square() @ precision.mT - 2 * x @ (self.mean * precision).mT
        return self.log_weight - 0.5 * (cross + constant)

    def log_density(self, x: Float[Tensor, "row dim"]) -> Float[Tensor, " row"]:
        """Log density of the mixture, in nats."""
        return self.joint(x).logsumexp(-1)

    def improved(self, x: Float[Tensor, "row dim"], floor: Tensor) -> "DiagonalMixture":
        """The mixture after one step of the EM algorithm (Dempster, Laird and Rubin 1977)."""
        share = self.joint(x).softmax(-1)
        # a component that loses all rows keeps a tiny weight
        mass = share.sum(0).clamp(min=1e-6)[:, None]
        mean = share.mT @ x / mass
        variance = (share.mT @ x.square() / mass - mean.square()).clamp(min=floor)
        return DiagonalMixture((mass[:, 0] / mass.sum()).log(), mean, variance)


def gaussian(x: Float[Tensor, "row dim"]) -> DiagonalMixture:
    """Single component with the mean and the variances of the rows."""
    return DiagonalMixture(x.new_zeros(1), x.mean(0)[None], x.var(0, correction=0)[None])


def fitted_mixtures(x: Float[Tensor, "row dim"], seed: int) -> list[DiagonalMixture]:
    """Mixtures fitted from two starts: components with different means, or different widths."""
    one = gaussian(x)
    random = generator(seed, "mixture")
    rows = x[torch.randperm(len(x), generator=random)[:COMPONENTS].to(x.device)]
    even = x.new_zeros(len(rows)).log_softmax(0)
    widths = torch.logspace(-1, 1, len(rows), base=3.0)[:, None].to(x)
    starts = (
        DiagonalMixture(even, rows, one.variance.expand_as(rows)),
        DiagonalMixture(even, one.mean + 0.1 * (rows - one.mean), one.variance * widths),
    )
    found = []
    for mixture in starts:
        for _ in range(SWEEPS):
            mixture = mixture.improved(x, FLOOR * one.variance)
        found.append(mixture)
    return found


def mixture_gain(sides: Sides, standard: Standard, *, seed: int) -> Effect:
    """Held-out gain of the mixture over a single Gaussian, in nats per dimension.

    Validation rows select one of the two starts.
    """
    train, validation, test = map(standard, (sides.train, sides.validation, sides.test))
    train = train[:: math.ceil(len(train) / MOST)]
    fits = fitted_mixtures(train, seed)
    best = max(fits, key=lambda fit: float(fit.log_density(validation).mean()))
    gains = (best.log_density(test) - gaussian(train).log_density(test)) / train.shape[1]
    return paired_gain("mixture over Gaussian", gains, sides.test.group, sides.groups, MIXTURE)
