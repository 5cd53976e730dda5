"""Rectangular grids of states: binning of sums and interpolation of functions."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Grid:
    """A grid with `nodes` equidistant nodes per axis, from `lower` to `upper`.

    Nodes are in row-major order: the last axis varies fastest. A state is distributed over the
    corners of its cell with multilinear weights. States outside the grid are moved to the nearest
    point on its surface.
    """

    lower: Float[Tensor, " dim"]
    upper: Float[Tensor, " dim"]
    nodes: int

    @property
    def dim(self) -> int:
        """The number of axes."""
        return len(self.lower)

    @property
    def size(self) -> int:
        """The number of nodes."""
        return int(self.nodes**self.dim)

    @property
    def spacing(self) -> Float[Tensor, " dim"]:
        """Distance between neighbouring nodes on each axis."""
        return (self.upper - self.lower) / (self.nodes - 1)

    def points(self) -> Float[Tensor, "node dim"]:
        """The states at the nodes."""
        axis = torch.arange(self.nodes).to(self.lower)
        return (
            self.lower + torch.cartesian_prod(*[axis] * self.dim).view(-1, self.dim) * self.spacing
        )

    def inside(self, x: Float[Tensor, "*batch dim"]) -> Bool[Tensor, "*batch"]:
        """Whether each state is inside the grid."""
        within: Tensor = (x >= self.lower) & (x <= self.upper)
        return within.all(-1)

    def spread(
        self, x: Float[Tensor, "batch dim"], values: Float[Tensor, "batch value"]
    ) -> Float[Tensor, "node value"]:
        """Sum of values at every node; each value is distributed over the corners of its cell."""
        index, weight = self._corners(x)
        sums = values.new_zeros(self.size, values.shape[-1])
        shares = weight[..., None] * values[:, None]
        return sums.index_add_(0, index.flatten(), shares.flatten(0, 1))

    def interpolate(
        self, values: Float[Tensor, "node value"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch value"]:
        """Interpolate a function given at the nodes: multilinear inside, constant outside."""
        index, weight = self._corners(x)
        return torch.einsum("...c,...cv->...v", weight, values[index])

    def _corners(
        self, x: Float[Tensor, "*batch dim"]
    ) -> tuple[Int[Tensor, "*batch corner"], Float[Tensor, "*batch corner"]]:
        """Nodes and weights of the corners of the cell of each state."""
        place = ((x - self.lower) / self.spacing).clamp(0, self.nodes - 1)
        first = place.floor().clamp(max=self.nodes - 2)
        high = place - first
        index = torch.zeros_like(first[..., :1], dtype=torch.long)
        weight = torch.ones_like(high[..., :1])
        for axis in range(self.dim):
            row, share = first[..., axis : axis + 1].long(), high[..., axis : axis + 1]
            index = torch.cat([index * self.nodes + row, index * self.nodes + row + 1], -1)
            weight = torch.cat([weight * (1 - share), weight * share], -1)
        return index, weight
