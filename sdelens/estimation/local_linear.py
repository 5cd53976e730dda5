r"""Local linear regression on a grid, with the variance of every estimate.

The estimate at a node g is the intercept of the regression of responses on :math:`[1, u]`, u = x -
g, with Gaussian weights :math:`K_h(u)`. The data are binned on the grid once; the sums for every
bandwidth h are then products with one small matrix per axis: Fan and Marron, "Fast implementations
of nonparametric curve estimators" (1994).

The bias of order h² is removed by combining two bandwidths, :math:`2\hat f_h - \hat f_{\sqrt2 h}`
(the generalised jackknife: Schucany and Sommers 1977), so that error bars based on the variance
alone have the nominal coverage.
"""

from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.grid import Grid

COMBINATION = ((2.0, 1.0), (-1.0, 2.0**0.5))
"""Pairs of coefficient and multiple of the bandwidth, which remove the bias of order h²."""
PRIOR = 1.0
"""Pseudo-observations of zero at every node, so the estimate is zero where there are no data."""


@dataclass(frozen=True, eq=False)
class LocalLinear:
    """Regression of responses on states, binned on a grid; several data sets are possible."""

    grid: Grid
    unit: Float[Tensor, " dim"]
    """Unit of bandwidths on each axis."""
    count: Float[Tensor, "*set node"]
    """Number of states binned to each node."""
    sums: Float[Tensor, "*set node value"]
    """Sum of the responses binned to each node."""

    def plain(self, bandwidth: float) -> Float[Tensor, "*set node value"]:
        """Estimate conditional means of the responses, with a bias of order h²."""
        near = [self._smoothed(self.sums, bandwidth, power) for power in self._powers()]
        return torch.einsum("...f,f...v->...v", self._row(bandwidth), torch.stack(near))

    def estimate(self, bandwidth: float) -> Float[Tensor, "*set node value"]:
        """Estimate conditional means without the bias of order h²."""
        parts = [a * self.plain(h) for a, h in _bandwidths(bandwidth)]
        return torch.stack(parts).sum(0)

    def variance(self, bandwidth: float) -> Float[Tensor, "*set node"]:
        """Variance of the result of `estimate`, relative to the variance of one response.

        The pseudo-observations of the prior count as observations with errors, so the variance
        without data is that of one response.
        """
        parts = []
        for (a, h), (b, k) in product(_bandwidths(bandwidth), repeat=2):
            both = self._gram((h**-2 + k**-2) ** -0.5) + self._prior(h, k)
            parts.append(a * b * torch.einsum("...f,...fg,...g", self._row(h), both, self._row(k)))
        return torch.stack(parts).sum(0)

    def average(self, bandwidth: float) -> Float[Tensor, "*set node value"]:
        """Local averages with the overall mean as prior, within the range of the responses."""
        overall = (self.sums.sum(-2) / self.count.sum(-1, keepdim=True))[..., None, :]
        both = torch.cat([self.count[..., None], self.sums], -1)
        near = self._smoothed(both, bandwidth, (0,) * self.grid.dim)
        return (near[..., 1:] + PRIOR * overall) / (near[..., :1] + PRIOR)

    def _row(self, bandwidth: float) -> Float[Tensor, "*set node feature"]:
        """Linear map from the sums at a node to its intercept."""
        gram = self._gram(bandwidth) + self._prior(bandwidth, bandwidth)
        first = torch.zeros_like(gram[..., :1])
        first[..., 0, :] = 1
        row: Tensor = torch.linalg.solve(gram, first)
        return row[..., 0]

    def _gram(self, bandwidth: float) -> Float[Tensor, "*set node feature feature"]:
        """Weighted sums of ``[1, u][1, u].T``."""
        powers = self._powers()
        pairs = [[_added(p, q) for q in powers] for p in powers]
        counts = self.count[..., None]
        distinct = {power for row in pairs for power in row}
        near = {p: self._smoothed(counts, bandwidth, p)[..., 0] for p in distinct}
        return torch.stack([torch.stack([near[p] for p in row], -1) for row in pairs], -2)

    def _prior(self, first: float, second: float) -> Float[Tensor, "feature feature"]:
        diagonal = torch.full_like(torch.cat([self.unit[:1], self.unit]), first * second)
        diagonal[0] = 1
        return PRIOR * diagonal.diag()

    def _powers(self) -> list[tuple[int, ...]]:
        """Powers of u in the features: zero, then one for each axis."""
        dim = self.grid.dim
        return [(0,) * dim, *(tuple(int(i == j) for j in range(dim)) for i in range(dim))]

    def _smoothed(
        self, values: Float[Tensor, "*set node value"], bandwidth: float, powers: tuple[int, ...]
    ) -> Float[Tensor, "*set node value"]:
        """Sums of values times the kernel and powers of u, computed axis by axis."""
        nodes, dim = self.grid.nodes, self.grid.dim
        shaped = values.reshape(*values.shape[:-2], *[nodes] * dim, -1)
        steps = torch.arange(1 - nodes, nodes).to(values)
        for axis, power in enumerate(powers):
            u = steps * (self.grid.spacing / self.unit)[axis]
            profile = u**power * (-0.5 * (u / bandwidth).square()).exp()
            # kernel[i, j] = profile of j - i
            kernel = profile.unfold(0, nodes, 1).flip(0)
            place = axis - dim - 1
            shaped = (shaped.movedim(place, -1) @ kernel.mT).movedim(-1, place)
        return shaped.reshape(values.shape)


def _added(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _bandwidths(bandwidth: float) -> list[tuple[float, float]]:
    return [(coefficient, multiple * bandwidth) for coefficient, multiple in COMBINATION]
