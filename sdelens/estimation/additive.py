r"""Additive means :math:`E[X'|x,t,v] = Ax + c_t + e_v`, fitted in closed form.

State x, position t and token v have additive effects; subsets of the terms give the baselines. The
`Moments` of the transitions suffice for least squares, so one pass over the data is enough to fit
a mean and to select its penalties on validation documents.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.laws.law import Mean
from sdelens.paths.moments import Moments as Moments
from sdelens.paths.moments import nearest as nearest
from sdelens.paths.moments import times_of as times_of

ROUNDING = 1e-12
"""Share of the mean square of a coordinate that is rounding error."""


@dataclass(frozen=True)
class Terms:
    """Terms included in a mean."""

    state: bool = False
    position: bool = False
    token: bool = False


@dataclass(frozen=True, eq=False)
class AdditiveMean(Mean):
    """The mean ``matrix @ x + by_time[t] + by_token[v]``.

    Unseen tokens have zero effect. A time that was not fitted has the effect of the nearest one.
    """

    matrix: Float[Tensor, "dim dim"]
    times: Float[Tensor, " time"]
    by_time: Float[Tensor, "time dim"]
    known: Int[Tensor, " token"]
    by_token: Float[Tensor, "token dim"]

    def __call__(
        self,
        t: Float[Tensor, "*batch"],
        x: Float[Tensor, "*batch dim"],
        token: Int[Tensor, "*batch"],
    ) -> Float[Tensor, "*batch dim"]:
        mean = x @ self.matrix.mT + self.by_time[nearest(self.times, t)]
        return mean + self.effect(token) if len(self.known) else mean

    def effect(self, token: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch dim"]:
        """Effect of each token; zero for tokens not seen in training."""
        if len(self.known) == 0:
            return self.by_token.new_zeros(*token.shape, self.by_token.shape[1])
        row = torch.searchsorted(self.known, token.contiguous()).clamp(max=len(self.known) - 1)
        found = (self.known[row] == token)[..., None]
        return self.by_token[row].where(found, 0.0)

    def tensors(self) -> dict[str, Tensor]:
        names = ("matrix", "times", "by_time", "known", "by_token")
        return {name: getattr(self, name) for name in names}

    def to(self, dtype: torch.dtype) -> "AdditiveMean":
        """Convert the coefficients to a dtype."""
        return AdditiveMean(
            self.matrix.to(dtype),
            self.times.to(dtype),
            self.by_time.to(dtype),
            self.known,
            self.by_token.to(dtype),
        )


def random_walk(moments: Moments) -> AdditiveMean:
    """The mean of a random walk, E[X'|x] = x, without fitted coefficients."""
    return _assembled(moments, torch.eye(moments.dim).to(moments.xx), None, None)


def drifting(moments: Moments, *, by_position: bool, shrinkage: float = 16.0) -> AdditiveMean:
    """The mean of a random walk with drift, x + c, or x + c_t if `by_position`."""
    increments = moments.position_y - moments.position_x
    counts = moments.position_count[:, None]
    overall = increments.sum(0) / moments.count
    own = (increments - counts * overall) / (counts + shrinkage)
    drift = overall + own if by_position else overall.repeat(len(own), 1)
    return replace(random_walk(moments), by_time=drift)


def least_squares(
    moments: Moments, terms: Terms, *, ridge: float = 1e-6, shrinkage: float = 1.0
) -> AdditiveMean:
    r"""Penalised least squares from the normal equations.

    Token effects are eliminated by a Schur complement. The penalty on the column of A for
    coordinate j is ``ridge * E[x_j^2]`` per transition, so it does not depend on units. It shrinks
    A towards the autoregression of each coordinate on itself, so persistent states are not pulled
    to zero, nor transient ones to the identity. Effects of tokens and positions are shrunk as by
    `shrinkage` additional observations of zero effect. The intercept is not penalised.
    """
    phi = _Features(moments, terms)
    gram, cross = phi.gram(), phi.cross()
    if terms.token:
        weight = 1 / (phi.token_count + shrinkage)
        gram = gram - phi.token.mT @ (phi.token * weight[:, None])
        cross = cross - phi.token.mT @ (moments.token_y * weight[:, None])
    penalty = phi.penalty(ridge, shrinkage)
    if terms.state:
        own = autoregression(moments, by_position=terms.position)
        cross[: moments.dim].diagonal().add_(penalty[: moments.dim] * own)
    solution = torch.cholesky_solve(cross, torch.linalg.cholesky(gram + penalty.diag()))
    by_token = None
    if terms.token:
        by_token = (moments.token_y - phi.token @ solution) * weight[:, None]
    return phi.mean(solution, by_token)


def autoregression(moments: Moments, *, by_position: bool) -> Float[Tensor, " dim"]:
    """Slope of the regression of each coordinate on its previous value, with an intercept."""
    count, x, y = moments.position_count[:, None], moments.position_x, moments.position_y
    if not by_position:
        count, x, y = (sums.sum(0, keepdim=True) for sums in (count, x, y))
    count = count.clamp(min=1)  # times without transitions have zero sums
    products = moments.xy.diagonal() - (x * y / count).sum(0)
    squares = moments.xx.diagonal() - (x * x / count).sum(0)
    return products / squares.maximum(ROUNDING * mean_squares(moments.xx))


def mean_squares(squares: Float[Tensor, "dim dim"]) -> Float[Tensor, " dim"]:
    """The diagonal of a matrix of squares, positive also for a coordinate that is always 0."""
    return squares.diagonal().clamp(min=torch.finfo(squares.dtype).tiny)


def above_rounding(
    residuals: Float[Tensor, "dim dim"], states: Float[Tensor, "dim dim"]
) -> Float[Tensor, "dim dim"]:
    """Second moments of residuals, with variances of at least `ROUNDING` of those of the states.

    A coordinate that is predicted exactly has a density too, whatever its unit.
    """
    least = ROUNDING * mean_squares(states)
    return residuals + (least - residuals.diagonal()).clamp(min=0).diag()


def second_moment(mean: AdditiveMean, moments: Moments) -> Float[Tensor, "dim dim"]:
    """Second moment E[rr'] of the residuals r of a mean, from the moments of any transitions."""
    theta, phi = _coefficients(mean, moments), _everything(moments)
    fitted_y = theta.mT @ phi.cross()
    fitted = theta.mT @ (phi.gram() @ theta)
    if len(mean.known):
        token = mean.effect(moments.tokens).double()
        mixed = (phi.token @ theta).mT @ token
        fitted_y = fitted_y + token.mT @ moments.token_y
        fitted = fitted + mixed + mixed.mT + token.mT @ (token * phi.token_count[:, None])
    total = moments.yy - fitted_y - fitted_y.mT + fitted
    return above_rounding((total + total.mT) / (2 * moments.count), moments.yy / moments.count)


def residual_variance(mean: AdditiveMean, moments: Moments) -> Float[Tensor, " dim"]:
    """The diagonal of `second_moment`, at a fraction of its cost."""
    theta, phi = _coefficients(mean, moments), _everything(moments)
    fitted_y = (theta * phi.cross()).sum(0)
    fitted = (theta * (phi.gram() @ theta)).sum(0)
    if len(mean.known):
        token = mean.effect(moments.tokens).double()
        fitted_y = fitted_y + (token * moments.token_y).sum(0)
        mixed = 2 * (phi.token @ theta) + token * phi.token_count[:, None]
        fitted = fitted + (token * mixed).sum(0)
    squares = moments.yy.diagonal() - 2 * fitted_y + fitted
    least = ROUNDING * mean_squares(moments.yy / moments.count)
    return (squares / moments.count).maximum(least)


def _coefficients(mean: AdditiveMean, moments: Moments) -> Float[Tensor, "feature dim"]:
    """The coefficients of states and positions, in the order of `_everything`."""
    by_time = mean.by_time[nearest(mean.times, moments.times)]
    free = torch.zeros_like(by_time[:1])  # by_time already includes the intercept
    return torch.cat([mean.matrix.mT, free, by_time]).double()


def _everything(moments: Moments) -> "_Features":
    """States and positions as features."""
    return _Features(moments, Terms(state=True, position=True))


class _Features:
    """Dense features ``[x, one-hot position]``, restricted to the given terms."""

    def __init__(self, moments: Moments, terms: Terms) -> None:
        self.moments, self.terms = moments, terms
        positions = len(moments.times)
        one = torch.ones(positions, 1, dtype=torch.float64, device=moments.times.device)
        # all positions share a free intercept; a position term adds one for each position, so
        # only the differences between positions are shrunk
        own = torch.eye(positions).to(one)
        self.collapse = torch.cat([one, own], dim=1) if terms.position else one
        self.token_count = moments.token_position.sum(1)
        place = moments.token_position @ self.collapse
        self.token = torch.cat([moments.token_x, place], 1) if terms.state else place

    def gram(self) -> Tensor:
        moments, collapse = self.moments, self.collapse
        place = collapse.mT @ (moments.position_count[:, None] * collapse)
        if not self.terms.state:
            return place
        mixed = moments.position_x.mT @ collapse
        return torch.cat([torch.cat([moments.xx, mixed], 1), torch.cat([mixed.mT, place], 1)])

    def cross(self) -> Tensor:
        place = self.collapse.mT @ self.moments.position_y
        return torch.cat([self.moments.xy, place]) if self.terms.state else place

    def penalty(self, ridge: float, shrinkage: float) -> Tensor:
        moments = self.moments
        place = torch.full_like(self.collapse[0], shrinkage)
        place[0] = 1e-9 * moments.count  # the free intercept
        if not self.terms.state:
            return place
        return torch.cat([ridge * mean_squares(moments.xx), place])

    def mean(self, solution: Tensor, by_token: Tensor | None) -> AdditiveMean:
        split = self.moments.dim if self.terms.state else 0
        by_time = self.collapse @ solution[split:]
        matrix = solution[:split].mT.contiguous() if self.terms.state else None
        return _assembled(self.moments, matrix, by_time, by_token)


def _assembled(
    moments: Moments, matrix: Tensor | None, by_time: Tensor | None, by_token: Tensor | None
) -> AdditiveMean:
    """A mean with zeros for missing terms."""
    zeros = moments.xx.new_zeros
    dim, positions = moments.dim, len(moments.times)
    return AdditiveMean(
        matrix=zeros(dim, dim) if matrix is None else matrix,
        times=moments.times,
        by_time=zeros(positions, dim) if by_time is None else by_time,
        known=moments.tokens[:0] if by_token is None else moments.tokens,
        by_token=zeros(0, dim) if by_token is None else by_token,
    )
