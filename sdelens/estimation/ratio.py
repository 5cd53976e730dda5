"""Ratio estimates from sums over documents."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Ratio:
    """A ratio of sums with its standard error by linearisation (Cochran 1977, 6.4)."""

    value: float
    stderr: float
    groups: int

    @classmethod
    def of(cls, above: Float[Tensor, " group"], below: Float[Tensor, " group"]) -> "Ratio":
        """Ratio of the sums; groups with a zero denominator are not counted in `groups`."""
        groups, total = int((below > 0).sum()), float(below.sum())
        value = float(above.sum()) / total
        spread = float((above - value * below).square().sum()) * groups / max(groups - 1, 1)
        return cls(value, math.sqrt(spread) / total, groups)


def summed(
    values: Float[Tensor, " row"], group: Tensor, groups: int
) -> tuple[Float[Tensor, " group"], Float[Tensor, " group"]]:
    """Sum and number of the values in each group."""
    zeros = torch.zeros(groups, dtype=torch.float64, device=values.device)
    above = zeros.index_add(0, group, values.double())
    return above.cpu(), zeros.index_add(0, group, torch.ones_like(values).double()).cpu()
