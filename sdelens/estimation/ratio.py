"""A ratio of sums over documents, which are its sample."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Ratio:
    """The ratio, with its error by linearisation (Cochran 1977, 6.4)."""

    value: float
    stderr: float
    groups: int

    @classmethod
    def of(cls, above: Float[Tensor, " group"], below: Float[Tensor, " group"]) -> "Ratio":
        """Documents with nothing below do not count."""
        groups, total = int((below > 0).sum()), float(below.sum())
        value = float(above.sum()) / total
        spread = float((above - value * below).square().sum()) * groups / max(groups - 1, 1)
        return cls(value, math.sqrt(spread) / total, groups)


def summed(
    values: Float[Tensor, " row"], group: Tensor, groups: int
) -> tuple[Float[Tensor, " group"], Float[Tensor, " group"]]:
    """The sum of the values of each group, and how many they are."""
    zeros = torch.zeros(groups, dtype=torch.float64, device=values.device)
    above = zeros.index_add(0, group, values.double())
    return above.cpu(), zeros.index_add(0, group, torch.ones_like(values).double()).cpu()
