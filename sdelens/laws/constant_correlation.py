"""The constant correlation around which a state-dependent scale varies, as free parameters."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.noise_families.family import NoiseFamily
from sdelens.laws.scale import Scale


@dataclass(frozen=True, eq=False)
class ConstantCorrelation:
    """A covariance of residuals in units of their own standard deviations, or a stack of them."""

    family: NoiseFamily
    free: dict[str, Tensor]
    """Unconstrained parameters, as the family defines them."""

    @classmethod
    def of(
        cls, family: NoiseFamily, scale: Scale, std: Float[Tensor, " dim"]
    ) -> "ConstantCorrelation | None":
        """That of a constant scale with these deviations; None for independent coordinates."""
        free = family.free(scale, std)
        return cls(family, free) if free else None

    def scale(self) -> Scale:
        """This correlation as a `Scale`; stacks are not supported."""
        return self.family.correlation(self.free)

    def member(self, index: int) -> "ConstantCorrelation":
        """One of a stack."""
        return ConstantCorrelation(
            self.family, {name: each[index] for name, each in self.free.items()}
        )

    @staticmethod
    def stack(members: Sequence["ConstantCorrelation"]) -> "ConstantCorrelation | None":
        """Several of one family, the inverse of `member`; None for an empty sequence."""
        if not members:
            return None
        names = members[0].free
        free = {name: torch.stack([each.free[name] for each in members]) for name in names}
        return ConstantCorrelation(members[0].family, free)
