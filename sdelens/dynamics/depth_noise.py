r"""Growth of the noise with depth, and the law that describes it.

The residual variance per coordinate :math:`v_\tau` at depth of arrival :math:`\tau` is modelled as

- exponential, :math:`\log v = a + \lambda\tau` (Sarfati et al. 2025: 0.18 per block for GPT-2),
- a power law, :math:`\log v = a + \lambda\log\tau`,
- constant, or free at every depth,

Each law maximises the likelihood of isotropic Gaussian residuals of training documents, which is a
convex problem, and the laws are compared by the likelihood of held-out documents.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.dynamics.depth import DepthMaps, lengthwise, metric
from sdelens.evidence.bootstrap import Bootstrap, by_unit
from sdelens.evidence.interval import Interval
from sdelens.laws.law import Law
from sdelens.laws.scale import LOG_2PI
from sdelens.paths.basis import Basis
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator

LAWS = ("exponential", "power", "constant", "free")
STEPS = 30
"""Newton steps, starting from least squares on log variances."""


@dataclass(frozen=True, eq=False)
class DepthSquares:
    """Sums of squares over the tokens of each document at each depth of arrival."""

    dim: int
    count: Float[Tensor, " document"]
    residual: Float[Tensor, "document step"]
    """Squared residuals of the depth maps."""
    fitted: Float[Tensor, "document step"]
    """Squared residuals of the run's fit."""
    motion: Float[Tensor, "document step"]
    """Squared increments."""

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        maps: DepthMaps,
        basis: Basis,
        law: Law,
        paths: Iterable[Trajectories],
        groups: Int[Tensor, " document"],
    ) -> "DepthSquares":
        """Compute in one pass, in the model's own coordinates."""
        units, steps = int(groups.max()) + 1, len(maps.matrix)
        sums = torch.zeros(3, steps, units, dtype=torch.float64)
        count = torch.zeros(units, dtype=torch.float64)
        for block in paths:
            y = lengthwise(basis, block)
            latent = next(iter(basis.view(block)))
            own = law.predict(latent).mean[:, :-1].double() @ metric(basis)
            errors = (y[:, 1:] - maps.predict(y), y[:, 1:] - own, y.diff(dim=1))
            unit = groups[block.document.cpu()]
            squares = torch.stack([error.square().sum(-1).mT for error in errors])
            sums += by_unit(squares, unit, units)
            count += torch.bincount(unit, minlength=units)
        parts = rearrange(sums, "part step document -> part document step").unbind(0)
        return cls(maps.matrix.shape[-1], count, *parts)

    def variance(self) -> Interval:
        """Mean square per coordinate at each depth of arrival."""
        return Interval.ratio(self.residual.mT, self.dim * self.count)

    def r2(self, *, of: str = "residual") -> Interval:
        """Share of the squared increments explained by the maps or by the run's fit."""
        return 1.0 - Interval.ratio(getattr(self, of).mT, self.motion.mT)

    def since(self, first: int) -> "DepthSquares":
        """Select depths of arrival from `first` on."""
        parts = (each[:, first - 1 :] for each in (self.residual, self.fitted, self.motion))
        return DepthSquares(self.dim, self.count, *parts)


@dataclass(frozen=True, eq=False)
class NoiseLaws:
    """Noise laws fitted to training documents, with their gains on held-out documents."""

    slope: Interval
    """The exponent of the exponential law, per block."""
    power: Interval
    """The exponent of the power law."""
    log_variance: Float[Tensor, "law step"]
    gain: Interval
    """Gain over the exponential law in nats per dimension, in the order of `LAWS`."""
    chance: float
    """Permutation p-value: share of random orders of the depths with an exponent as large."""

    @classmethod
    def of(
        cls, train: DepthSquares, test: DepthSquares, *, first: int = 1, seed: int
    ) -> "NoiseLaws":
        """Fit the laws to the noise at depths of arrival from `first` on.

        Errors are over documents and ignore the error of the maps, which is small for many tokens.
        """
        train, test = train.since(first), test.since(first)
        # each coordinate of a map has dim + 1 coefficients, which shrink training residuals
        total = float(train.count.sum())
        spent = total / max(total - train.dim - 1, 1.0)
        above, below = train.residual * spent, train.dim * train.count
        variance = above.sum(0) / below.sum()
        tokens = Bootstrap.of(train.count, seed=seed)
        drawn = (tokens.weights @ above) / (tokens.weights @ below)[:, None]
        x = first - 1 + depths(len(variance))
        slope, power = (
            tokens.interval(fit_slope(clock, variance[None])[0, 1], fit_slope(clock, drawn)[:, 1])
            for clock in (x, x.log())
        )
        lines = [_line(clock, variance) for clock in (x, x.log())]
        logs = torch.stack([*lines, variance.mean().log().expand_as(x), variance.log()])
        nats = _nats(test, logs)
        gain = Interval.ratio(nats[:1] - nats, len(x) * test.dim * test.count)
        return cls(slope, power, logs, gain, _chance(x, variance, seed))


def depths(steps: int) -> Float[Tensor, " step"]:
    """Depths of arrival: 1 after the first block."""
    return torch.arange(1, steps + 1, dtype=torch.float64)


def fit_slope(
    x: Float[Tensor, " step"], variance: Float[Tensor, "*batch step"]
) -> Float[Tensor, "*batch 2"]:
    r"""Maximum-likelihood intercept and slope of :math:`\log v = a + \lambda x` for mean squares.

    Newton's method on the convex :math:`\sum_t (v_t e^{-\eta_t} + \eta_t)`, from least squares.
    """
    design = torch.stack([torch.ones_like(x), x], dim=-1)
    found: Tensor = torch.linalg.solve(design.mT @ design, design.mT @ variance.log().mT).mT
    for _ in range(STEPS):
        weight = variance * (-found @ design.mT).exp()
        slope = (1 - weight) @ design
        curve = torch.einsum("...t,ti,tj->...ij", weight, design, design)
        step: Tensor = torch.linalg.solve(curve, slope[..., None])[..., 0]
        found = found - step.clamp(-1, 1)
    return found


def _line(x: Float[Tensor, " step"], variance: Float[Tensor, " step"]) -> Float[Tensor, " step"]:
    found = fit_slope(x, variance[None])
    return found[0, 0] + found[0, 1] * x


def _nats(
    squares: DepthSquares, log_variance: Float[Tensor, "law step"]
) -> Float[Tensor, "law document"]:
    """Negative log likelihood of each document's residuals under each law, in nats."""
    scaled: Tensor = squares.residual @ (-log_variance).exp().mT
    level: Tensor = (log_variance + LOG_2PI).sum(-1)
    nats: Tensor = (scaled.mT + squares.dim * level[:, None] * squares.count) / 2
    return nats


def _chance(
    x: Float[Tensor, " step"], variance: Float[Tensor, " step"], seed: int, draws: int = 2000
) -> float:
    """Share of random orders of the depths with an exponent at least as far from zero."""
    random = generator(seed, "orders")
    keys = torch.rand(draws, len(x), generator=random, dtype=torch.float64)
    drawn = fit_slope(x, variance[keys.argsort(-1)])[:, 1].abs()
    actual = float(fit_slope(x, variance[None])[0, 1].abs())
    return (1 + int((drawn >= actual * (1 - 1e-9)).sum())) / (draws + 1)
