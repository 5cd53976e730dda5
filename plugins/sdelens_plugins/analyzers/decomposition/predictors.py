"""Predictors of a step: the fit, a larger probe on the same state, and earlier states.

All are in the latent coordinates of the fit, and fitted to training documents:

- D1, the fitted drift m(x, t) - x;
- D2, a larger probe's prediction of the residual X' - m from the same state: ridge regression on
  the state, waves of t, and Gaussian bumps around sampled training states;
- D3, the same on D2's features and earlier states;
- D0, the return to the mean: the training mean at the next position, less x.

The penalties of D2 and D3 are those that predict the validation documents best.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.evidence.bootstrap import by_unit
from sdelens.evidence.scorecard import pieces
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Viewed
from sdelens.laws.matrices import cholesky
from sdelens.paths.products import Products, no_products
from sdelens.paths.trajectories import Paths, Trajectories
from sdelens.seeds import generator
from sdelens.settings import require_at_least

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""As shares of each feature's own sum of squares."""
BUMP_WIDTH = 0.5
"""The width of a bump, as a share of the median distance between states and centres."""
WAVES = 3
MIN_STATES = 20
"""Positions with fewer training states use the mean of all states."""


@dataclass(frozen=True)
class LargerProbe:
    """The settings of D2 and D3."""

    centres: int = 512
    lags: int = 2
    transitions: int = 20_000
    """At most so many training transitions, from all documents."""

    def __post_init__(self) -> None:
        require_at_least(self, lags=1, centres=1, transitions=100)

    def __str__(self) -> str:
        return (
            f"ridge regression on the state, its position and {self.centres} Gaussian bumps "
            "around training states"
        )


@dataclass(frozen=True, eq=False)
class PredictorFeatures:
    """Features of the states so far, standardised by coordinate."""

    mean: Float[Tensor, " latent"]
    scale: Float[Tensor, " latent"]
    centres: Float[Tensor, "centre latent"]
    width: float
    span: float
    """The last time of training: half the longest wave."""
    lags: int

    @property
    def current(self) -> int:
        """The number of features of the current state, which come first."""
        return 1 + 2 * WAVES + len(self.mean) + len(self.centres)

    @property
    def size(self) -> int:
        """The number of features."""
        return self.current + self.lags * len(self.mean)

    def __call__(self, block: Trajectories) -> Float[Tensor, "path time feature"]:
        """Features of each state of a latent block; missing earlier states count as the mean."""
        z = ((block.states - self.mean) / self.scale).where(block.mask[..., None], 0.0)
        angle = torch.pi * torch.arange(1, WAVES + 1) * block.times[..., None] / self.span
        angle = angle.expand(*z.shape[:2], -1).to(z)
        bumps = torch.exp(-(torch.cdist(z, self.centres) / self.width).square())
        earlier = [_shifted(z, lag) for lag in range(1, self.lags + 1)]
        constant = torch.ones_like(z[..., :1])
        return torch.cat([constant, angle.cos(), angle.sin(), z, bumps, *earlier], dim=-1)


def _shifted(z: Float[Tensor, "path time latent"], lag: int) -> Float[Tensor, "path time latent"]:
    """The states `lag` steps earlier, zero where there is none."""
    return torch.nn.functional.pad(z, (0, 0, lag, 0))[:, : z.shape[1]]


@dataclass(frozen=True, eq=False)
class Predictors:
    """The predictors D1, D2, D3 and D0 of one view."""

    fitted: Fitted
    features: PredictorFeatures
    coefficients: Float[Tensor, "current latent"]
    """Of D2."""
    lagged_coefficients: Float[Tensor, "feature latent"]
    """Of D3."""
    means: Float[Tensor, "time latent"]
    """The mean of training states by position; the last row is the mean of all."""

    @classmethod
    @torch.no_grad()
    def of(cls, viewed: Viewed, larger: LargerProbe, *, seed: int) -> "Predictors":
        """Fits to training documents, with penalties chosen on validation documents.

        Raises `UsageError` if either side has no transition.
        """
        fitted = viewed.fitted
        train = _thinned(fitted.encoded(viewed.train), larger.transitions)
        held = _thinned(fitted.encoded(viewed.validation), larger.transitions // 4)
        if not train or not held:
            raise UsageError("training and validation documents need a transition each")
        features = _features(train, larger, seed)
        sums, held_sums = (_sums(fitted, features, blocks) for blocks in (train, held))
        coefficients = _ridge(*(part.first(features.current) for part in (sums, held_sums)))
        means = _means(fitted.encoded(viewed.train))
        return cls(fitted, features, coefficients, _ridge(sums, held_sums), means)

    @torch.no_grad()
    def __call__(self, block: Trajectories) -> Float[Tensor, "predictor path time latent"]:
        """All predictors of the step from each state of a latent block."""
        drift = self.fitted.law.predict(block).mean - block.states
        features = self.features(block)
        same_state = features[..., : self.features.current] @ self.coefficients
        following = (block.times.long() + 1).clamp(max=len(self.means) - 1)
        reversion = self.means[following].to(block.states) - block.states
        lagged = features @ self.lagged_coefficients
        return torch.stack([drift, same_state, lagged, reversion])


def _means(paths: Paths) -> Float[Tensor, "time latent"]:
    times = 1 + max(int(block.times.max()) for block in paths)
    sums = torch.zeros((), dtype=torch.float64)
    for block in pieces(paths):
        time = block.times.expand(block.mask.shape)[block.mask].long()
        states = torch.nn.functional.pad(block.states[block.mask], (0, 1), value=1.0)
        sums = sums + by_unit(states.mT, time, times)
    whole = sums.sum(1, keepdim=True)
    sums = torch.cat([sums.where(sums[-1] >= MIN_STATES, whole), whole], 1)
    return (sums[:-1] / sums[-1]).mT.float()


def _thinned(paths: Paths, most: int) -> list[Trajectories]:
    """Every n-th path, for about `most` transitions from all documents."""
    total = sum(int(block.steps.sum()) for block in paths)
    stride, seen, kept = max(1, math.ceil(total / most)), 0, []
    for block in pieces(paths):
        rows = torch.arange(-seen % stride, len(block.document), stride)
        seen += len(block.document)
        kept.append(block.rows(rows))
    return [block for block in kept if block.steps.any()]


def _features(train: list[Trajectories], larger: LargerProbe, seed: int) -> PredictorFeatures:
    states = torch.cat([block.states[block.mask] for block in train])
    mean, scale = states.mean(0), states.std(0).clamp(min=torch.finfo(states.dtype).tiny)
    z = (states - mean) / scale
    order = torch.randperm(len(z), generator=generator(seed, "centres"))
    centres = z[order[: larger.centres]]
    width = BUMP_WIDTH * float(torch.cdist(z[order[-1000:]], centres).median())
    span = max(float(block.times.max()) for block in train)
    return PredictorFeatures(mean, scale, centres, max(width, 1e-6), max(span, 1.0), larger.lags)


def _sums(fitted: Fitted, features: PredictorFeatures, blocks: list[Trajectories]) -> Products:
    """Products of features and residuals, in single precision, which is faster."""
    sums = no_products(features.size, len(features.mean))
    for block in pieces(blocks, 2**18):
        steps = block.steps
        residual = block.states[:, 1:] - fitted.law.predict(block).mean[:, :-1]
        sums.add_rows(features(block)[:, :-1][steps], residual[steps])
    return sums


def _ridge(train: Products, held: Products) -> Float[Tensor, "feature latent"]:
    """The ridge coefficients with the smallest squared error on validation."""
    level = train.xx.diagonal().clamp(min=1e-9 * float(train.xx.diagonal().max()))
    candidates = [
        torch.cholesky_solve(train.xy, cholesky(train.xx + (share * level).diag()))
        for share in PENALTIES
    ]
    losses = [float((b * (held.xx @ b - 2 * held.xy)).sum()) for b in candidates]
    return candidates[losses.index(min(losses))].float()
