"""Initial regimes for expectation maximisation: regressions on a few transitions (k-means++)."""

from collections.abc import Sequence
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.additive import AdditiveMean
from sdelens.estimation.expectation_maximisation import Prior, climb
from sdelens.estimation.regimes import Chain, Departures, Piece, Regimes
from sdelens.laws.noise_families.low_rank import LowRankScale
from sdelens.laws.scale import DiagonalScale
from sdelens.paths.trajectories import MappedPaths, Paths, Trajectories
from sdelens.seeds import derive, generator

SAMPLE = 8192
"""Approximate number of transitions from which starts are drawn and on which they are compared."""
PASSES = 10
"""Passes of expectation maximisation before starts are compared."""


def sampled(paths: Paths, common: AdditiveMean, transitions: int) -> list[Piece]:
    """Every n-th path, with n such that about `SAMPLE` of all transitions remain."""
    stride = max(1, transitions // SAMPLE)

    def some(block: Trajectories) -> Trajectories:
        return block.rows(torch.arange(0, len(block.mask), stride, device=block.mask.device))

    return list(Departures(MappedPaths(paths, some), common))


def best_start(
    pieces: Sequence[Piece],
    count: int,
    prior: Prior,
    noise: DiagonalScale | LowRankScale,
    *,
    starts: int,
    seed: int,
) -> Regimes:
    """Draw several starts, improve them on the given pieces, and return the most likely one.

    `noise` is the residual noise of the common mean. Half of the starts are drawn from single
    transitions, for regimes that change at every step; the other half from runs of consecutive
    transitions, for persistent regimes.
    """
    x = torch.cat([piece.features for piece in pieces])
    r = torch.cat([piece.residual for piece in pieces])
    runs = min(16 + x.shape[1] // 4, len(x))
    widths = [runs] * (starts - starts // 2) + [1] * (starts // 2)
    drawn = [
        _around(_drawn(x, r, width, count, prior, derive(seed, number)), noise, 1 - 1 / width)
        for number, width in enumerate(widths)
    ]
    *_, (regimes, sums) = islice(climb(stacked(drawn), pieces, prior), PASSES)
    best = int((sums.log_likelihood + prior.log_density(regimes)).argmax())
    return regimes[best : best + 1]


def _drawn(
    x: Float[Tensor, "transition feature"],
    r: Float[Tensor, "transition dim"],
    width: int,
    count: int,
    prior: Prior,
    seed: int,
) -> Float[Tensor, "regime feature dim"]:
    """Regressions on random windows, each drawn where the previous ones predict poorly.

    As in k-means++ (Arthur and Vassilvitskii 2007), the probability of a window is proportional to
    its squared residual.
    """
    windows, std = len(x) // width, prior.variance.sqrt().to(r)
    x, r = (part[: windows * width].reshape(windows, width, -1) for part in (x, r / std))
    random, penalty = generator(seed, "starts"), prior.penalty.to(x).diag()
    left, found = torch.ones(windows), list[Tensor]()
    for _ in range(count):
        chosen = int(torch.multinomial(left.clamp(min=1e-12).cpu(), 1, generator=random))
        near = x[chosen]
        root = torch.linalg.cholesky(near.mT @ near + penalty)
        found.append(torch.cholesky_solve(near.mT @ r[chosen], root))
        own = (r - x @ found[-1]).square().mean((-2, -1))
        left = own if len(found) == 1 else torch.minimum(left, own)
    return torch.stack(found) * std


def _around(
    coefficients: Float[Tensor, "regime feature dim"],
    noise: DiagonalScale | LowRankScale,
    stay: float,
) -> Regimes:
    """Regimes with the given coefficients, the same noise, and probability `stay` to persist.

    With probability 1 - `stay` the next regime is drawn uniformly.
    """
    count, _, dim = coefficients.shape
    even = torch.full((count,), 1 / count, dtype=torch.float64, device=coefficients.device)
    moves = stay * torch.eye(count).to(even) + (1 - stay) * even
    return Regimes(
        coefficients,
        noise.std.square().expand(count, dim),
        noise.columns.expand(count, *noise.columns.shape),
        Chain(even.log(), moves.log()),
    )


def stacked(starts: Sequence[Regimes]) -> Regimes:
    """Stack several starts as members."""
    names = ("coefficients", "variance", "columns")
    own = {name: torch.stack([getattr(start, name) for start in starts]) for name in names}
    chains = (torch.stack([getattr(s.chain, name) for s in starts]) for name in ("start", "moves"))
    return Regimes(**own, chain=Chain(*chains))
