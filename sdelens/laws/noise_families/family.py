"""Interface of a noise family: a set of covariances, and how they are fitted."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.laws.scale import Scale


class NoiseFamily(ABC):
    """A family of covariances, selected by ``noise=NAME`` or ``noise=NAME:K``.

    The noise is Gaussian: another distribution needs a law of its own, such as `Mixture`.
    A family is a frozen dataclass; its fields are parsed from the text after the colon. In one
    dimension the diagonal family is used instead of any other.
    """

    usage: ClassVar[str]
    """Form of the setting, for messages, such as ``correlated:K``."""
    scale: ClassVar[type[Scale]]
    """The dataclass returned by `estimate`; its fields are the tensors saved."""
    isotropic: ClassVar[bool] = False
    """Whether all coordinates have the same standard deviation."""

    @classmethod
    def parse(cls, argument: str | None) -> "NoiseFamily | None":
        """Create the family from the text after the colon; None if the text is invalid."""
        return cls() if argument is None else None

    @abstractmethod
    def estimate(self, covariance: Float[Tensor, "dim dim"], count: int | None = None) -> Scale:
        """Maximum likelihood estimate in float64, given the covariance of the residuals.

        Raises `BadNumbers` if `count` residuals are too few; None skips the check.
        """

    def free(self, scale: Scale, std: Float[Tensor, " dim"]) -> dict[str, Tensor]:
        """Unconstrained parameters of the correlation of `scale`, for gradient descent.

        The correlation is `scale` divided by its standard deviations `std`. Families with
        independent coordinates have no such parameters.
        """
        del scale, std
        raise UsageError(
            f"noise={self.usage} cannot be trained by gradients: use a closed-form probe, or "
            "define free() and correlation() for this family"
        )

    def correlation(self, free: dict[str, Tensor]) -> Scale:
        """The correlation with the given parameters, the inverse of `free`."""
        raise NotImplementedError(f"{type(self).__name__} has no free parameters")

    def restore(self, tensors: dict[str, Tensor]) -> Scale:
        """Restore a scale from its saved fields."""
        return self.scale(**{f.name: tensors[f.name] for f in fields(self.scale)})  # type: ignore[arg-type]


MEMBERS = ("usage", "scale", "isotropic", "parse", "estimate", "free", "correlation", "restore")


def family_problems(kind: Any) -> Iterator[str]:
    """The members of `NoiseFamily` that a class lacks, each as the end of a sentence."""
    for name in MEMBERS:
        if not hasattr(kind, name) or name in getattr(kind, "__abstractmethods__", ()):
            yield f"has no {name}: define it in a subclass of {NoiseFamily.__module__}.NoiseFamily"


def variances(covariance: Float[Tensor, "dim dim"]) -> Float[Tensor, " dim"]:
    """Diagonal of a covariance, positive, for coordinates whose units differ by up to 1e12."""
    variance = covariance.diagonal()
    return variance.clamp(min=1e-24 * float(variance.max()))


def standardised(
    covariance: Float[Tensor, "dim dim"],
) -> tuple[Float[Tensor, " dim"], Float[Tensor, "dim dim"]]:
    """Standard deviations and correlation matrix of a covariance."""
    std = variances(covariance).sqrt()
    return std, covariance / std[:, None] / std
