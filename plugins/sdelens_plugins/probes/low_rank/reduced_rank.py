r"""Reduced-rank regression plus a diagonal: the matrix of a step is :math:`D + UV^\top`.

Izenman, "Reduced-rank regression for the multivariate linear model" (1975): for a given noise
covariance :math:`\Sigma` and diagonal D, the optimal U and V are a truncated singular value
decomposition in coordinates in which noise and states are white. The remaining objective depends
only on D and is minimised by BFGS, which can be a hundred times faster than alternating. All
computations use second moments only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.estimation.additive import AdditiveMean, mean_squares, nearest
from sdelens.estimation.centred import Centred
from sdelens.laws.law import Mean
from sdelens.laws.matrices import cholesky

STEPS = 200
WORTH = 1e-3
"""Smallest expected gain of a step in squared distance; a parameter is worth about 1."""


@dataclass(frozen=True, eq=False)
class LowRankMean(Mean):
    """The mean ``diagonal * x + left @ (right.T @ x) + by_time[t]``."""

    diagonal: Float[Tensor, " dim"]
    left: Float[Tensor, "dim rank"]
    right: Float[Tensor, "dim rank"]
    times: Float[Tensor, " time"]
    by_time: Float[Tensor, "time dim"]

    @property
    def rank(self) -> int:
        """The rank of the interactions between coordinates."""
        return self.left.shape[1]

    def __call__(
        self,
        t: Float[Tensor, "*batch"],
        x: Float[Tensor, "*batch dim"],
        token: Int[Tensor, "*batch"],
    ) -> Float[Tensor, "*batch dim"]:
        del token  # states and positions only
        return (
            x * self.diagonal
            + x @ self.right @ self.left.mT
            + self.by_time[nearest(self.times, t)]
        )

    def tensors(self) -> dict[str, Tensor]:
        names = ("diagonal", "left", "right", "times", "by_time")
        return {name: getattr(self, name) for name in names}

    def to(self, dtype: torch.dtype) -> "LowRankMean":
        """The mean with coefficients of another dtype."""
        return LowRankMean(**{name: t.to(dtype) for name, t in self.tensors().items()})

    def dense(self) -> AdditiveMean:
        """The mean with an explicit matrix."""
        matrix = self.diagonal.diag() + self.left @ self.right.mT
        none = torch.empty(0, dtype=torch.long, device=matrix.device)
        return AdditiveMean(
            matrix, self.times, self.by_time, none, matrix.new_zeros(0, len(matrix))
        )


@dataclass(frozen=True, eq=False)
class ReducedRank:
    r"""Regression of y on x with noise covariance :math:`\Sigma`.

    It minimises :math:`\sum \|y - Dx - UV^\top x\|^2_{\Sigma^{-1}}` plus the penalty
    :math:`\|UV^\top\Lambda^{1/2}\|^2_{\Sigma^{-1}}` on the interactions, with the diagonal
    :math:`\Lambda` the share `ridge` of the mean square of each coordinate, per transition.
    """

    centred: Centred
    covariance: Float[Tensor, "dim dim"]
    ridge: float = 1e-6
    scalar: bool = False
    """Whether the diagonal is a multiple of the identity."""

    def fit(self, rank: int) -> LowRankMean:
        """The mean with the best matrix of a given rank."""
        noise, state = cholesky(self.covariance), cholesky(self._penalised())
        weight = torch.cholesky_inverse(noise)
        cross, square = self.centred.xy.mT, self.centred.xx
        curvature = weight * square

        def low_rank(diagonal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return _truncated(cross - diagonal[:, None] * square, noise, state, rank)

        def distance(diagonal: Tensor) -> tuple[float, Tensor]:
            left, right, explained = low_rank(diagonal)
            pull, own = curvature @ diagonal, (weight * cross.mT).sum(1)
            taken = (weight * (square @ right @ left.mT)).sum(1)
            return float(diagonal @ (pull - 2 * own) - explained), 2 * (pull - own + taken)

        diagonal = torch.zeros_like(cross[0])
        one, each = torch.ones_like(cross[:, :1]), torch.eye(len(cross)).to(cross)
        # a diagonal that starts by itself takes up what interactions should explain
        for base in (one,) if self.scalar else (one, each):
            diagonal = minimum(distance, diagonal, base, base.mT @ curvature @ base)
        left, right, _ = low_rank(diagonal)
        mean = self.centred.mean(diagonal.diag() + left @ right.mT)
        return LowRankMean(diagonal, left, right, mean.times, mean.by_time)

    def _penalised(self) -> Float[Tensor, "dim dim"]:
        return self.centred.xx + self.ridge * mean_squares(self.centred.moments.xx).diag()


def minimum(
    function: Callable[[Tensor], tuple[float, Tensor]],
    start: Float[Tensor, " dim"],
    base: Float[Tensor, "dim free"],
    curvature: Float[Tensor, "free free"],
) -> Float[Tensor, " dim"]:
    """Minimise a function, given with its gradient, along the columns of `base` by BFGS.

    The initial inverse Hessian is half the inverse of `curvature` (Nocedal and Wright, "Numerical
    Optimization", 2006, equation 6.17). Steps end when the next expected gain is negligible.
    """
    # scipy.optimize.minimize(method="BFGS") needs twice the evaluations: it stops by the size of
    # the slope, not by the gain expected of the next step
    inverse = torch.cholesky_inverse(cholesky(curvature)) / 2
    here, (value, slope) = start, function(start)
    for _ in range(STEPS):
        step = -inverse @ (base.mT @ slope)
        gain = -0.5 * float(slope @ (base @ step))
        below, tilt = function(here + base @ step)
        while below > value - 0.1 * gain and gain > WORTH:
            step, gain = step / 2, gain / 2
            below, tilt = function(here + base @ step)
        if not below < value:
            break
        turn = base.mT @ (tilt - slope)
        here, value, slope = here + base @ step, below, tilt
        if gain < WORTH:
            break
        bend = float(step @ turn)
        if bend > 0:
            mixed = torch.eye(len(step)).to(step) - step[:, None] * turn / bend
            inverse = mixed @ inverse @ mixed.mT + step[:, None] * step / bend
    return here


def _truncated(
    cross: Float[Tensor, "dim dim"],
    noise: Float[Tensor, "dim dim"],
    state: Float[Tensor, "dim dim"],
    rank: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """U and V of the leading singular directions in white coordinates, with the part explained."""
    white = torch.linalg.solve_triangular(noise, cross, upper=False)
    white = torch.linalg.solve_triangular(state, white.mT, upper=False).mT
    values, vectors = torch.linalg.eigh(white @ white.mT)
    leading = vectors[:, len(values) - rank :]
    right = torch.linalg.solve_triangular(state.mT, white.mT @ leading, upper=True)
    return noise @ leading, right, values[len(values) - rank :].sum()
