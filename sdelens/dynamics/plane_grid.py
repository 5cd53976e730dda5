"""A grid over the part of a plane where there are data."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

TAIL = 0.005
"""Of the points along each axis, left outside on each side."""


@dataclass(frozen=True, eq=False)
class PlaneGrid:
    """Equally spaced nodes, and how many data points are nearest to each."""

    across: Float[Tensor, " column"]
    up: Float[Tensor, " row"]
    count: Float[Tensor, "row column"]

    @classmethod
    def over(cls, points: Float[Tensor, "state 2"], cells: int) -> "PlaneGrid":
        """`cells` nodes along each axis over the middle 99% of the points."""
        ends = points.double().quantile(torch.tensor([TAIL, 1 - TAIL]).double(), dim=0)
        lows, highs = ends.tolist()
        axes = [
            torch.linspace(low, high, cells, dtype=torch.float64)
            for low, high in zip(lows, highs, strict=True)
        ]
        place = [
            ((points[:, k].double() - axis[0]) / (axis[-1] - axis[0]) * (cells - 1)).round().long()
            for k, axis in enumerate(axes)
        ]
        inside = torch.stack([(p >= 0) & (p < cells) for p in place]).all(0)
        index = (place[1] * cells + place[0])[inside]
        count = torch.bincount(index, minlength=cells**2).double()
        return cls(axes[0], axes[1], rearrange(count, "(row column) -> row column", row=cells))

    @property
    def nodes(self) -> Float[Tensor, "node 2"]:
        """All nodes, row by row."""
        up, across = torch.meshgrid(self.up, self.across, indexing="ij")
        return torch.stack([across.ravel(), up.ravel()], dim=-1)

    @property
    def step(self) -> Float[Tensor, "2"]:
        """The distance between neighbours along each axis."""
        return torch.stack([self.across[1] - self.across[0], self.up[1] - self.up[0]])

    def filled(self, least: int) -> Bool[Tensor, " node"]:
        """Nodes with so many points or more."""
        return self.count.ravel() >= least

    def shaped(
        self, values: Float[Tensor, " node"], shown: Bool[Tensor, " node"]
    ) -> Float[Tensor, "row column"]:
        """Values as a heat map; NaN where they are not shown."""
        return values.where(shown, torch.nan).view(self.count.shape)
