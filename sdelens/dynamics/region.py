"""The region of the data: an ellipsoid around their mean that contains most of them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LEVEL = 0.99
"""Share of training states inside the region."""
FLOOR = 1e-6
"""Smallest principal variance of the standardised states relative to the largest; smaller ones
are rounding errors."""


@dataclass(frozen=True, eq=False)
class Region:
    r"""States whose Mahalanobis distance from the mean is at most `reach`.

    `radius` is the same in standardised coordinates: :math:`|(x - c)/s|` of 99% of the states.
    """

    centre: Float[Tensor, " dim"]
    std: Float[Tensor, " dim"]
    whitener: Float[Tensor, "dim dim"]
    reach: float
    radius: float

    @classmethod
    def of(cls, x: Float[Tensor, "state dim"], level: float = LEVEL) -> "Region":
        """The region of these states."""
        wide = x.double()
        centre = wide.mean(0)
        away = wide - centre
        covariance = away.mT @ away / len(wide)
        std = covariance.diagonal().clamp(min=1e-300).sqrt()
        values, vectors = torch.linalg.eigh(covariance / std / std[:, None])
        scale = values.clamp(min=FLOOR * float(values[-1]) + 1e-300).sqrt()
        whitener = vectors / scale / std[:, None]
        reach, radius = (
            float((away @ scale).norm(dim=-1).quantile(level))
            for scale in (whitener, (1 / std).diag())
        )
        return cls(centre, std, whitener, reach, radius)

    def distance(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Mahalanobis distance from the mean, in units of `reach`: at most 1 inside."""
        found: Tensor = ((x.double() - self.centre) @ self.whitener).norm(dim=-1) / self.reach
        return found

    def holds(self, x: Float[Tensor, "*batch dim"]) -> Bool[Tensor, "*batch"]:
        """Which states lie inside."""
        return self.distance(x) <= 1

    def size(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Distance from the mean in standardised coordinates, in units of `radius`."""
        found: Tensor = ((x.double() - self.centre) / self.std).norm(dim=-1) / self.radius
        return found

    def shell(self, x: Float[Tensor, "state dim"], times: float) -> Float[Tensor, "state dim"]:
        """The states scaled along their direction from the mean to `times` the radius."""
        away = x.double() - self.centre
        size = self.size(x)[:, None].clamp(min=1e-12)
        return (self.centre + away * (times / size)).to(x)
