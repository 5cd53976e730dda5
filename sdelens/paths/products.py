"""Sums of products over rows, accumulated batch by batch, for least squares."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK = 8192
"""Number of rows converted to float64 at a time."""


@dataclass(eq=False)
class Products:
    """Sums of products of the columns of x and y over rows, in float64."""

    xx: Float[Tensor, "feature feature"]
    xy: Float[Tensor, "feature target"]
    yy: Float[Tensor, "target target"]
    count: int = 0

    def add_rows(self, x: Float[Tensor, "row feature"], y: Float[Tensor, "row target"]) -> None:
        """Add rows; products have the precision of x and y, sums are in float64."""
        self.xx += (x.mT @ x).double()
        self.xy += (x.mT @ y).double()
        self.yy += (y.mT @ y).double()
        self.count += len(x)

    def __add__(self, other: "Products") -> "Products":
        count = self.count + other.count
        return Products(self.xx + other.xx, self.xy + other.xy, self.yy + other.yy, count)

    def first(self, features: int) -> "Products":
        """The products of the first `features` features."""
        few = slice(features)
        return Products(self.xx[few, few], self.xy[few], self.yy, self.count)


def no_products(features: int, targets: int) -> Products:
    """Sums over zero rows."""
    wide = torch.zeros(features, features, dtype=torch.float64)
    return Products(wide, wide.new_zeros(features, targets), wide.new_zeros(targets, targets))


def products_of(x: Float[Tensor, "row feature"], y: Float[Tensor, "row target"]) -> Products:
    """Products of rows in memory, in float64, with one matrix product per chunk of ``[x, y]``."""
    width = x.shape[1]
    both = x.new_zeros(*[width + y.shape[1]] * 2, dtype=torch.float64)
    for part in zip(*(torch.split(side, CHUNK) for side in (x, y)), strict=True):
        rows = torch.cat(part, dim=1).double()
        both += rows.mT @ rows
    return Products(both[:width, :width], both[:width, width:], both[width:, width:], len(y))
