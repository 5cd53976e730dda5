r"""Test for jumps: how fast the tails of the increments decay with the sampling interval.

Let :math:`\kappa_k = M_4/3M_2^2 - 1` for the increments of normal scores over an interval k, after
subtracting their linear mean. It grows with k for a diffusion, is constant for noise whose scale
varies slowly, and decreases as 1/k for jumps, whose :math:`M_4` is proportional to the interval
while :math:`M_2^2` is proportional to its square. The effect is :math:`\kappa_1 - 2\kappa_4`: half
of :math:`\kappa_1` for a decay as 1/k, and not positive for a decay slower than :math:`k^{-1/2}`.
Normal scores are a monotone function of each coordinate, which keeps a diffusion a diffusion, and
their moments exist whatever the tails of the data.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.estimation.regression import ridge
from sdelens.evidence.effects import Effect
from sdelens.evidence.process_class import TAILS
from sdelens.paths.products import Products, products_of
from sdelens.paths.trajectories import Trajectories

INTERVALS = (1, 2, 4)
KNOTS = 1000
"""Number of quantiles between which normal scores are interpolated."""
MOST = 4_000_000
"""Maximum number of values that quantiles are computed from; more are thinned evenly."""


@dataclass(frozen=True, eq=False)
class NormalScores:
    """The increasing map of each coordinate that makes its states standard normal."""

    knots: Float[Tensor, "dim knot"]
    scores: Float[Tensor, " knot"]

    @classmethod
    def of(cls, paths: Iterable[Trajectories]) -> "NormalScores":
        """Quantiles of the observed states, at most `MOST` values per coordinate."""
        states = torch.cat([block.states[block.mask].double().cpu() for block in paths])
        states = states[:: math.ceil(states.numel() / MOST)]
        shares = (torch.arange(KNOTS, dtype=torch.float64) + 0.5) / KNOTS
        return cls(states.quantile(shares, dim=0).mT.contiguous(), torch.special.ndtri(shares))

    def __call__(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Scores, linear between quantiles and constant beyond the outermost."""
        flat = rearrange(x.double().cpu(), "... dim -> dim (...)").contiguous()
        above = torch.searchsorted(self.knots, flat).clamp(1, KNOTS - 1)
        low, high = self.knots.gather(1, above - 1), self.knots.gather(1, above)
        part = ((flat - low) / (high - low).clamp(min=torch.finfo(flat.dtype).tiny)).clamp(0, 1)
        found = self.scores[above - 1].lerp(self.scores[above], part)
        return found.mT.reshape(x.shape)


@torch.no_grad()
def tails(
    paths: Sequence[Iterable[Trajectories]], groups: Int[Tensor, " document"]
) -> Float[Tensor, "interval group moment dim"]:
    """Count, sum of squares and sum of fourth powers of the increments, by group of documents."""
    normal = NormalScores.of(chain.from_iterable(paths))
    scored = [
        replace(block, states=normal(block.states), mask=block.mask.cpu())
        for block in chain.from_iterable(paths)
    ]
    maps = [_linear(scored, interval) for interval in INTERVALS]
    shape = (len(INTERVALS), int(groups.max()) + 1, 3, maps[0].shape[1])
    sums = torch.zeros(shape, dtype=torch.float64)
    for block in scored:
        group = groups[block.document.cpu()]
        for number, (interval, linear) in enumerate(zip(INTERVALS, maps, strict=True)):
            seen, target = _pairs(block, interval)
            left, usable = target - seen @ linear, _usable(block, interval)[..., None]
            powers = [torch.ones_like(left), left.square(), left.square().square()]
            moments = torch.stack([p.where(usable, 0.0).sum(1) for p in powers], dim=1)
            sums[number].index_add_(0, group, moments)
    return sums


def excess(sums: Float[Tensor, "*batch moment dim"]) -> Float[Tensor, "*batch"]:
    """``M4 / 3 M2^2 - 1``, averaged over coordinates."""
    count, second, fourth = sums.unbind(-2)
    return (fourth * count / (3 * second.square()) - 1).mean(-1)


def jump_effect(sums: Float[Tensor, "interval group moment dim"]) -> Effect:
    """The effect of jumps, with a jackknife standard error over groups of documents."""
    sums = sums[:, (sums[:, :, 0] > 0).all(-1).all(0)]
    groups = sums.shape[1]
    total = sums.sum(1)
    value, without = _contrast(excess(total)), _contrast(excess(total[:, None] - sums))
    stderr = ((without - without.mean()).square().sum() * (groups - 1) / groups).sqrt()
    return Effect(
        "tails beyond a diffusion's", float(value), float(stderr), groups, TAILS, unit="M4/3M2²"
    )


def _contrast(kappa: Float[Tensor, "interval *group"]) -> Float[Tensor, "*group"]:
    return kappa[0] - 2 * kappa[-1].clamp(min=0)


def _usable(block: Trajectories, interval: int) -> Tensor:
    return block.observed(0, interval)


def _pairs(block: Trajectories, interval: int) -> tuple[Tensor, Tensor]:
    """``[1, x]`` and the state one interval later."""
    x = block.states[:, :-interval]
    return torch.cat([torch.ones_like(x[..., :1]), x], dim=-1), block.states[:, interval:]


def _linear(paths: Iterable[Trajectories], interval: int) -> Float[Tensor, "feature dim"]:
    """Least-squares coefficients of the state one interval later on ``[1, x]``."""
    total: Products | None = None
    for block in paths:
        usable = _usable(block, interval)
        seen, target = (side[usable] for side in _pairs(block, interval))
        part = products_of(seen, target)
        total = part if total is None else total + part
    if total is None:
        raise ValueError("expected at least one block of paths, got none")
    return ridge(total, torch.full((len(total.xx),), 1e-6).to(total.xx))
