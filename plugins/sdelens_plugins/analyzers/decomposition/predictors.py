"""What different knowledge foretells of a step: the fit, more of the same state, earlier states.

All are in the latent coordinates of the fit, and from training documents alone:

- D1, the fitted drift m(x, t) - x;
- D2, what a larger probe on the same state foretells of the residual X' - m: ridge regression on
  the state, waves of t, and Gaussian bumps around drawn training states;
- D3, the same on D2's features and the states before;
- D0, beside them, what no knowledge of the state foretells but that it returns to the mean: the
  training mean at the next position, less x.

The penalty of D2 and of D3 is that which predicts the validation documents best.
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
from sdelens.paths.trajectories import Paths, Trajectories
from sdelens.seeds import generator

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""As shares of each feature's own sum of squares."""
REACH = 0.5
"""The width of a bump, as a share of the median distance between a state and the centres."""
WAVES = 3
LEAST = 20
"""Positions with fewer training states have the mean of all."""
NAMES = ("drift", "misfit", "memory")


@dataclass(frozen=True)
class LargerModel:
    """The class of D2 and D3."""

    centres: int = 512
    lags: int = 2
    transitions: int = 20_000
    """Of training, at most, from all documents."""

    def __post_init__(self) -> None:
        if self.lags < 1:
            raise UsageError(f"lags must be at least 1, got {self.lags}")
        if self.centres < 1:
            raise UsageError(f"centres must be at least 1, got {self.centres}")
        if self.transitions < 100:
            raise UsageError(f"transitions must be at least 100, got {self.transitions}")

    def __str__(self) -> str:
        return (
            f"ridge regression on the state, its position and {self.centres} Gaussian bumps "
            "around training states"
        )


@dataclass(frozen=True, eq=False)
class PredictorFeatures:
    """Functions of the states so far, standardised coordinate by coordinate."""

    mean: Float[Tensor, " latent"]
    scale: Float[Tensor, " latent"]
    centres: Float[Tensor, "centre latent"]
    width: float
    span: float
    """The last time of training, to which waves are stretched."""
    lags: int

    @property
    def own(self) -> int:
        """How many features are of the current state."""
        return 1 + 2 * WAVES + len(self.mean) + len(self.centres)

    def __call__(self, block: Trajectories) -> Float[Tensor, "path time feature"]:
        """Of each state of a latent block; earlier states that were not seen are the mean."""
        z = ((block.states - self.mean) / self.scale).where(block.mask[..., None], 0.0)
        angle = torch.pi * torch.arange(1, WAVES + 1) * block.times[..., None] / self.span
        angle = angle.expand(*z.shape[:2], -1).to(z)
        bumps = torch.exp(-(torch.cdist(z, self.centres) / self.width).square())
        before = [_shifted(z, lag) for lag in range(1, self.lags + 1)]
        one = torch.ones_like(z[..., :1])
        return torch.cat([one, angle.cos(), angle.sin(), z, bumps, *before], dim=-1)


def _shifted(z: Float[Tensor, "path time latent"], lag: int) -> Float[Tensor, "path time latent"]:
    """The states so many steps earlier, zero where there is none."""
    return torch.nn.functional.pad(z, (0, 0, lag, 0))[:, : z.shape[1]]


@dataclass(frozen=True, eq=False)
class Predictors:
    """D1, D2, D3 and D0 of one view."""

    fitted: Fitted
    features: PredictorFeatures
    same: Float[Tensor, "own latent"]
    lagged: Float[Tensor, "feature latent"]
    means: Float[Tensor, "time latent"]
    """Of training states by position; last, that of all."""

    @classmethod
    @torch.no_grad()
    def of(cls, viewed: Viewed, larger: LargerModel, *, seed: int) -> "Predictors":
        """Fitted to training documents; penalties by validation."""
        fitted = viewed.fitted
        train = _thinned(fitted.encoded(viewed.train), larger.transitions)
        held = _thinned(fitted.encoded(viewed.validation), larger.transitions // 4)
        if not train or not held:
            raise UsageError("training and validation documents need a transition each")
        features = _features(train, larger, seed)
        sums, checks = (_products(fitted, features, blocks) for blocks in (train, held))
        own = slice(features.own)
        same = _ridge(*(part.first(own) for part in (sums, checks)))
        return cls(
            fitted, features, same, _ridge(sums, checks), _means(fitted.encoded(viewed.train))
        )

    @torch.no_grad()
    def __call__(self, block: Trajectories) -> Float[Tensor, "predictor path time latent"]:
        """All four, of the step from each state of a latent block."""
        drift = self.fitted.law.predict(block).mean - block.states
        features = self.features(block)
        same = features[..., : self.features.own] @ self.same
        following = (block.times.long() + 1).clamp(max=len(self.means) - 1)
        back = self.means[following].to(block.states) - block.states
        return torch.stack([drift, same, features @ self.lagged, back])


def _means(paths: Paths) -> Float[Tensor, "time latent"]:
    times = 1 + max(int(block.times.max()) for block in paths)
    sums = torch.zeros((), dtype=torch.float64)
    for block in pieces(paths):
        time = block.times.expand(block.mask.shape)[block.mask].long()
        states = torch.nn.functional.pad(block.states[block.mask], (0, 1), value=1.0)
        sums = sums + by_unit(states.mT, time, times)
    whole = sums.sum(1, keepdim=True)
    sums = torch.cat([sums.where(sums[-1] >= LEAST, whole), whole], 1)
    return (sums[:-1] / sums[-1]).mT.float()


def _thinned(paths: Paths, most: int) -> list[Trajectories]:
    """Every so manieth path, so that there are about so many transitions, from all documents."""
    total = sum(int(block.steps.sum()) for block in paths)
    stride, seen, kept = max(1, math.ceil(total / most)), 0, []
    for block in pieces(paths):
        rows = torch.arange(-seen % stride, len(block.document), stride)
        seen += len(block.document)
        kept.append(block.rows(rows))
    return [block for block in kept if block.steps.any()]


def _features(train: list[Trajectories], larger: LargerModel, seed: int) -> PredictorFeatures:
    states = torch.cat([block.states[block.mask] for block in train])
    mean, scale = states.mean(0), states.std(0).clamp(min=1e-6)
    z = (states - mean) / scale
    order = torch.randperm(len(z), generator=generator(seed, "centres"))
    centres = z[order[: larger.centres]]
    width = REACH * float(torch.cdist(z[order[-1000:]], centres).median())
    span = max(float(block.times.max()) for block in train)
    return PredictorFeatures(mean, scale, centres, max(width, 1e-6), max(span, 1.0), larger.lags)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Products of features and residuals; single precision products, double sums."""

    gram: Float[Tensor, "feature feature"]
    cross: Float[Tensor, "feature latent"]

    def first(self, own: slice) -> "_Sums":
        return _Sums(self.gram[own, own], self.cross[own])


def _products(fitted: Fitted, features: PredictorFeatures, blocks: list[Trajectories]) -> _Sums:
    gram, cross = torch.zeros(()).double(), torch.zeros(()).double()
    for block in (part for one in blocks for part in pieces([one], 2**18)):
        steps = block.steps
        residual = block.states[:, 1:] - fitted.law.predict(block).mean[:, :-1]
        f, r = features(block)[:, :-1][steps], residual[steps]
        gram, cross = gram + (f.mT @ f).double(), cross + (f.mT @ r).double()
    return _Sums(gram, cross)


def _ridge(train: _Sums, held: _Sums) -> Float[Tensor, "feature latent"]:
    """The coefficients whose squared error on validation is least."""
    level = train.gram.diagonal().clamp(min=1e-9 * float(train.gram.diagonal().max()))
    found = [
        torch.cholesky_solve(train.cross, cholesky(train.gram + (share * level).diag()))
        for share in PENALTIES
    ]
    losses = [float((b * (held.gram @ b - 2 * held.cross)).sum()) for b in found]
    return found[losses.index(min(losses))].float()
