"""The constant correlation around which a state-dependent scale varies, as free parameters."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.scale import FullScale, LowRankScale, Scale


class Correlation(ABC):
    """A covariance of residuals in units of their own standard deviations, or a stack of them."""

    @abstractmethod
    def scale(self) -> Scale:
        """It, as a `Scale`; not of a stack."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The free parameters by name."""

    def member(self, index: int) -> "Correlation":
        """One of a stack."""
        return type(self)(**{name: tensor[index] for name, tensor in self.tensors().items()})


@dataclass(frozen=True, eq=False)
class LowRankCorrelation(Correlation):
    r""":math:`D^2 + UU^\top`; the logarithm keeps D positive whatever the steps."""

    log_unique: Float[Tensor, "*member dim"]
    columns: Float[Tensor, "*member dim rank"]

    def scale(self) -> LowRankScale:
        return LowRankScale(self.log_unique.exp(), self.columns)

    def tensors(self) -> dict[str, Tensor]:
        return {"log_unique": self.log_unique, "columns": self.columns}


@dataclass(frozen=True, eq=False)
class FullCorrelation(Correlation):
    r""":math:`LL^\top` with a lower triangular L, whose diagonal is kept as its logarithm."""

    log_diagonal: Float[Tensor, "*member dim"]
    below: Float[Tensor, "*member dim dim"]
    """What is on and above its diagonal is not used."""

    def scale(self) -> FullScale:
        return FullScale(self.below.tril(-1) + self.log_diagonal.exp().diag_embed())

    def tensors(self) -> dict[str, Tensor]:
        return {"log_diagonal": self.log_diagonal, "below": self.below}


KINDS = (LowRankCorrelation, FullCorrelation)


def stacked(members: Sequence[Correlation]) -> Correlation | None:
    """Several of a kind as one, the inverse of `Correlation.member`; None of none."""
    if not members:
        return None
    named = [member.tensors() for member in members]
    return type(members[0])(
        **{name: torch.stack([each[name] for each in named]) for name in named[0]}
    )


def correlation_of(tensors: dict[str, Tensor]) -> Correlation | None:
    """The correlation with these parameters, told by their names; None if there are none."""
    for kind in KINDS:
        names = kind.__annotations__
        if all(name in tensors for name in names):
            return kind(**{name: tensors[name] for name in names})
    return None


def correlation_from(scale: Scale, base: Float[Tensor, " dim"]) -> Correlation | None:
    """The correlation of a constant scale whose deviations are `base`; None if diagonal."""
    if isinstance(scale, LowRankScale):
        return LowRankCorrelation((scale.std / base).log(), scale.columns / base[:, None])
    if isinstance(scale, FullScale):
        root = scale.root / base[:, None]
        return FullCorrelation(root.diagonal().log(), root.tril(-1))
    return None
