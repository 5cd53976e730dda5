r"""Expectation maximisation for switching regressions, streamed over paths.

A pass filters and smooths the regimes along every path in log space and accumulates the expected
sufficient statistics: Dempster, Laird and Rubin (1977); Baum and others (1970). The objective is
the likelihood of the observed transitions times a `Prior`; no pass decreases it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import reduce
from operator import add

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.estimation.regimes import Chain, Piece, Regimes


@dataclass(frozen=True, eq=False)
class Expected:
    """Expected sufficient statistics: sums over transitions weighted by regime, in float64."""

    log_likelihood: Float[Tensor, " member"]
    squares: Float[Tensor, " member"]
    """Sum of squared distances between the filtered mean and the next state."""
    transitions: Int[Tensor, ""]
    start: Float[Tensor, "member regime"]
    moves: Float[Tensor, "member regime regime"]
    count: Float[Tensor, "member regime"]
    gram: Float[Tensor, "member regime feature feature"]
    cross: Float[Tensor, "member regime feature dim"]
    """Products of features with the residuals of the current coefficients."""
    scatter: Float[Tensor, "member regime dim *other"]
    """Products of these residuals; only the diagonal if the noise is diagonal."""

    def __add__(self, other: "Expected") -> "Expected":
        names = [field.name for field in fields(self)]
        return Expected(**{name: getattr(self, name) + getattr(other, name) for name in names})


def expected(regimes: Regimes, pieces: Iterable[Piece]) -> Expected:
    """Expected sufficient statistics of one pass under the given regimes."""
    return reduce(add, (_expected(regimes, piece) for piece in pieces))


def _expected(regimes: Regimes, piece: Piece) -> Expected:
    """Compute products in the precision of the data, sums and the chain in float64."""
    residual = piece.residual - piece.features @ regimes.coefficients
    density = regimes.log_density(residual)
    evidence = density.new_zeros(*density.shape[:-1], *piece.steps.shape, dtype=torch.float64)
    evidence[..., piece.steps] = density.double()
    seen, share, start, moves, nats = _smoothed(regimes.chain, evidence, piece.steps)
    seen, share = seen.to(residual), share.to(residual)
    weighted = share[..., None] * piece.features
    guess = torch.einsum("mkn,mknd->mnd", seen, residual)
    return Expected(
        log_likelihood=nats,
        squares=guess.square().sum((-2, -1)).double(),
        transitions=piece.steps.sum(),
        start=start,
        moves=moves,
        count=share.double().sum(-1),
        gram=(weighted.mT @ piece.features).double(),
        cross=(weighted.mT @ residual).double(),
        scatter=_scatter(share, residual, full=regimes.columns.shape[-1] > 0).double(),
    )


def _smoothed(
    chain: Chain,
    evidence: Float[Tensor, "member regime path step"],
    steps: Bool[Tensor, "path step"],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Filtered and smoothed regime probabilities, sums of starts and moves, log likelihood."""
    evidence = evidence.movedim(1, -1)
    before, later = chain.forward(evidence)[..., :-1, :], chain.backward(evidence)
    joint = before + evidence
    after = (joint + later).softmax(-1)
    # steps after the last observed one are not part of a path
    inside = steps.flip(-1).cumsum(-1).flip(-1) > 0
    pairs = joint[..., :-1, :, None] + chain.moves[..., None, None, :, :]
    pairs = pairs + (evidence + later)[..., 1:, None, :]
    moved = pairs.flatten(-2).softmax(-1).reshape(pairs.shape)
    return (
        before.exp().movedim(-1, 1)[..., steps],
        after.movedim(-1, 1)[..., steps],
        after[..., 0, :][..., inside[:, 0], :].sum(-2),
        moved[..., inside[:, 1:], :, :].sum(-3),
        joint.logsumexp(-1).sum((-2, -1)),
    )


def _scatter(share: Tensor, residual: Tensor, *, full: bool) -> Tensor:
    weighted = share[..., None] * residual
    scatter: Tensor = weighted.mT @ residual if full else (weighted * residual).sum(-2)
    return scatter


@dataclass(frozen=True, eq=False)
class Prior:
    """Prior that keeps regimes with few transitions from collapsing onto them.

    It consists of a ridge penalty on departures from the common mean, in units of the noise; one
    pseudo-observation with the residual variance of the common mean; one pseudo-observation of
    every start and every move of the chain; and a lower bound on the variances D of each regime.
    """

    penalty: Float[Tensor, " feature"]
    variance: Float[Tensor, " dim"]
    floor: Float[Tensor, " dim"]

    def log_density(self, regimes: Regimes) -> Float[Tensor, " member"]:
        """Log density of the prior, up to a constant."""
        scatter = self.scatter(regimes.coefficients.double())
        covariance = regimes.covariance().double()
        inside = torch.linalg.solve(covariance, scatter).diagonal(dim1=-2, dim2=-1).sum(-1)
        noise: Tensor = -0.5 * (inside + torch.logdet(covariance)).sum(-1)
        return noise + regimes.chain.start.sum(-1) + regimes.chain.moves.sum((-2, -1))

    def scatter(
        self, coefficients: Float[Tensor, "*member feature dim"]
    ) -> Float[Tensor, "*member dim dim"]:
        """Contribution of the prior to the scatter of the residuals."""
        departure = coefficients.mT @ (self.penalty[:, None] * coefficients)
        return departure + self.variance.diag()


def maximised(regimes: Regimes, sums: Expected, prior: Prior) -> Regimes:
    """Maximise the expected log likelihood plus log prior; low-rank noise takes one EM step."""
    old, penalty = regimes.coefficients.double(), prior.penalty[:, None]
    root = torch.linalg.cholesky(sums.gram + prior.penalty.diag())
    step = torch.cholesky_solve(sums.cross - penalty * old, root)
    # update the scatter from that of the old residuals to avoid cancellation near convergence
    if sums.scatter.ndim == old.ndim:
        mixed = step.mT @ sums.cross
        scatter = sums.scatter - mixed - mixed.mT + step.mT @ sums.gram @ step
    else:
        change = (step * (sums.gram @ step - 2 * sums.cross)).sum(-2)
        scatter = (sums.scatter + change).diag_embed()
    covariance = (scatter + prior.scatter(old + step)) / (sums.count + 1)[..., None, None]
    variance, columns = _factors(regimes, covariance)
    return Regimes(
        (old + step).to(regimes.coefficients),
        variance.clamp(min=prior.floor).to(regimes.variance),
        columns.to(regimes.columns),
        Chain(
            (sums.start + 1).log() - (sums.start + 1).sum(-1, keepdim=True).log(),
            (sums.moves + 1).log() - (sums.moves + 1).sum(-1, keepdim=True).log(),
        ),
    )


def _factors(
    regimes: Regimes, covariance: Float[Tensor, "member regime dim dim"]
) -> tuple[Float[Tensor, "member regime dim"], Float[Tensor, "member regime dim rank"]]:
    """One step of expectation maximisation for factor analysis (Rubin and Thayer 1982)."""
    columns = regimes.columns.double()
    identity = torch.eye(columns.shape[-1]).to(columns)
    pull = torch.linalg.solve(regimes.covariance().double(), columns)  # S^-1 U
    shared = covariance @ pull
    second = identity - columns.mT @ pull + pull.mT @ shared
    moved = torch.linalg.solve(second, shared.mT).mT
    return covariance.diagonal(dim1=-2, dim2=-1) - (moved * shared).sum(-1), moved


def climb(
    regimes: Regimes, pieces: Iterable[Piece], prior: Prior
) -> Iterator[tuple[Regimes, Expected]]:
    """Iterate expectation maximisation without end; yields regimes and their statistics."""
    while True:
        sums = expected(regimes, pieces)
        yield regimes, sums
        regimes = maximised(regimes, sums, prior)
