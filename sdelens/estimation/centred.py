r"""Sums of products with the effects of positions eliminated: what is left to fit is a matrix.

For every A, least squares of :math:`y = Ax + c_t` gives the best shrunken effects :math:`c_t` in
closed form. Put back in, they leave a quadratic in A alone, with the moments below.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.additive import AdditiveMean
from sdelens.paths.moments import Moments


@dataclass(frozen=True, eq=False)
class Centred:
    """Schur complements of the moments of x and y in those of the positions, in float64."""

    moments: Moments
    collapse: Float[Tensor, "time place"]
    """Which intercepts a time has: a shared one, and under `position` one of its own."""
    root: Float[Tensor, "place place"]
    """The Cholesky factor of the intercepts' penalised normal equations."""
    xx: Float[Tensor, "dim dim"]
    xy: Float[Tensor, "dim dim"]

    @classmethod
    def of(cls, moments: Moments, *, position: bool, shrinkage: float) -> "Centred":
        """Effects of positions are shrunk as by `shrinkage` observations of none.

        The shared intercept is free; without `position` there is no other.
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
        """The mean with this matrix and the effects that are best beside it."""
        rest = self.moments.position_y - self.moments.position_x @ matrix.mT
        effects = torch.cholesky_solve(self.collapse.mT @ rest, self.root)
        return AdditiveMean(
            matrix=matrix,
            times=self.moments.times,
            by_time=self.collapse @ effects,
            known=self.moments.tokens[:0],
            by_token=matrix.new_zeros(0, len(matrix)),
        )
