"""What a structure of noise provides: the covariances that it allows, and how they are fitted."""

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.laws.scale import Scale


class NoiseFamily(ABC):
    """The covariances of one structure, selected by ``noise=NAME`` or ``noise=NAME:K``.

    A family is a frozen dataclass; its fields are what stands after the colon. In one dimension
    all families are the diagonal one, which is decided before a family is used.
    """

    usage: ClassVar[str]
    """How the setting is written, for messages: ``correlated:K``."""
    scale: ClassVar[type[Scale]]
    """The dataclass that `estimate` returns; its fields are the tensors that are saved."""
    isotropic: ClassVar[bool] = False
    """Whether all coordinates have the same standard deviation."""

    @classmethod
    def parse(cls, argument: str | None) -> "NoiseFamily | None":
        """The family with what stands after the colon; None where that is not understood."""
        return cls() if argument is None else None

    @abstractmethod
    def estimate(self, covariance: Float[Tensor, "dim dim"], count: int | None = None) -> Scale:
        """The member that is most likely for residuals with this covariance, in float64.

        Raises `BadNumbers` where `count` residuals are too few; None is enough of them.
        """

    def free(self, scale: Scale, std: Float[Tensor, " dim"]) -> dict[str, Tensor]:
        """Unconstrained parameters of a member's correlation, for optimisation by gradients.

        The scale is divided by its standard deviations `std`. Independent coordinates have none.
        """
        del scale, std
        raise UsageError(
            f"noise={self.usage} cannot be trained by gradients: use a probe in closed form, or "
            "define free() and correlation() for it"
        )

    def correlation(self, free: dict[str, Tensor]) -> Scale:
        """The inverse of `free`."""
        raise NotImplementedError(f"{type(self).__name__} has no free parameters")

    def restore(self, tensors: dict[str, Tensor]) -> Scale:
        """The member that was saved as the fields of `scale`."""
        return self.scale(**{f.name: tensors[f.name] for f in fields(self.scale)})  # type: ignore[arg-type]


def variances(covariance: Float[Tensor, "dim dim"]) -> Float[Tensor, " dim"]:
    """The diagonal, constant coordinates lifted to a trillionth of the largest."""
    variance = covariance.diagonal()
    return variance.clamp(min=1e-12 * float(variance.max()))


def standardised(
    covariance: Float[Tensor, "dim dim"],
) -> tuple[Float[Tensor, " dim"], Float[Tensor, "dim dim"]]:
    """Standard deviations and the correlation matrix."""
    std = variances(covariance).sqrt()
    return std, covariance / std[:, None] / std
