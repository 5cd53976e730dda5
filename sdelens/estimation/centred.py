r"""Centred moments, with the effects of positions eliminated.

For a given A, least squares of :math:`y = Ax + c_t` has a closed-form solution for the shrunken
effects :math:`c_t`. Substituting it gives a quadratic function of A, with the moments below.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.additive import AdditiveMean
from sdelens.paths.moments import Moments


@dataclass(frozen=True, eq=False)
class Centred:
    """Schur complements of the moments of x and y with respect to the positions, in float64."""

    moments: Moments
    collapse: Float[Tensor, "time place"]
    """Intercepts of each time: a shared one, and its own one with `position`."""
    root: Float[Tensor, "place place"]
    """Cholesky factor of the penalised normal equations of the intercepts."""
    xx: Float[Tensor, "dim dim"]
    xy: Float[Tensor, "dim dim"]

    @classmethod
    def of(cls, moments: Moments, *, position: bool, shrinkage: float) -> "Centred":
        """Eliminate the intercepts, with one per position if `position`.

        Effects of positions are shrunk as by `shrinkage` observations of zero effect. The shared
        intercept is not penalised.
        """
        one = torch.ones_like(moments.position_count)[:, None]
        own = torch.eye(len(one)).to(one)
        collapse = torch.cat([one, own], 1) if position else one
        penalty = torch.full_like(collapse[0], shrinkage)
        penalty[0] = 1e-9 * moments.count
        gram = collapse.mT @ (moments.position_count[:, None] * collapse) + penalty.diag()
        root: Tensor = torch.linalg.cholesky(gram)
        x, y = (
            torch.linalg.solve_triangular(root, collapse.mT @ sums, upper=False)
            for sums in (moments.position_x, moments.position_y)
        )
        return cls(moments, collapse, root, moments.xx - x.mT @ x, moments.xy - x.mT @ y)

    def mean(self, matrix: Float[Tensor, "dim dim"]) -> AdditiveMean:
        """The mean with the given matrix and the optimal effects of positions."""
        rest = self.moments.position_y - self.moments.position_x @ matrix.mT
        effects = torch.cholesky_solve(self.collapse.mT @ rest, self.root)
        return AdditiveMean(
            matrix=matrix,
            times=self.moments.times,
            by_time=self.collapse @ effects,
            known=self.moments.tokens[:0],
            by_token=matrix.new_zeros(0, len(matrix)),
        )
