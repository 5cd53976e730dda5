"""Noise with independent coordinates: ``diagonal``, and ``scalar`` with one deviation for all."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from sdelens.laws.noise_families.family import NoiseFamily, variances
from sdelens.laws.scale import DiagonalScale, Scale


@dataclass(frozen=True)
class Diagonal(NoiseFamily):
    """Independent coordinates, each with its own standard deviation."""

    usage: ClassVar[str] = "diagonal"
    scale: ClassVar[type[Scale]] = DiagonalScale

    def estimate(
        self, covariance: Float[Tensor, "dim dim"], count: int | None = None
    ) -> DiagonalScale:
        del count
        return DiagonalScale(variances(covariance).sqrt())

    def free(self, scale: Scale, std: Float[Tensor, " dim"]) -> dict[str, Tensor]:
        del scale, std
        return {}


@dataclass(frozen=True)
class Scalar(Diagonal):
    """Independent coordinates with a common standard deviation."""

    usage: ClassVar[str] = "scalar"
    isotropic: ClassVar[bool] = True

    def estimate(
        self, covariance: Float[Tensor, "dim dim"], count: int | None = None
    ) -> DiagonalScale:
        del count
        return DiagonalScale(variances(covariance).mean().sqrt().repeat(len(covariance)))
