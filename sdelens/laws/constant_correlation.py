"""Constant correlation of state-dependent noise, as unconstrained parameters."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.noise_families.family import NoiseFamily
from sdelens.laws.scale import Scale


@dataclass(frozen=True, eq=False)
class ConstantCorrelation:
    """Covariance of standardised residuals, or a stack of such covariances."""

    family: NoiseFamily
    free: dict[str, Tensor]
    """Unconstrained parameters, as defined by the family."""

    @classmethod
    def of(
        cls, family: NoiseFamily, scale: Scale, std: Float[Tensor, " dim"]
    ) -> "ConstantCorrelation | None":
        """Correlation of a constant scale given its deviations; None if it is diagonal."""
        free = family.free(scale, std)
        return cls(family, free) if free else None

    def scale(self) -> Scale:
        """This correlation as a `Scale`; stacks are not supported."""
        return self.family.correlation(self.free)

    def member(self, index: int) -> "ConstantCorrelation":
        """One member of a stack."""
        return ConstantCorrelation(
            self.family, {name: each[index] for name, each in self.free.items()}
        )

    @staticmethod
    def stack(members: Sequence["ConstantCorrelation"]) -> "ConstantCorrelation | None":
        """Stack correlations of the same family; None for an empty sequence."""
        if not members:
            return None
        names = members[0].free
        free = {name: torch.stack([each.free[name] for each in members]) for name in names}
        return ConstantCorrelation(members[0].family, free)
