r"""Noise that is the same in every state, of one of several families.

``scalar``: one deviation for all coordinates; ``diagonal``; ``correlated:k``:
:math:`S = D^2 + UU^\top` with k columns; ``full``: any covariance, by its Cholesky factor. Each
has a file in `sdelens.laws.noise_families`.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.laws.law import Noise
from sdelens.laws.noise_families.diagonal import Diagonal
from sdelens.laws.noise_families.family import NoiseFamily
from sdelens.laws.noise_families.table import noise_family
from sdelens.laws.scale import DiagonalScale, Scale


@dataclass(frozen=True)
class NoiseSpec:
    """A family by its setting, as ``diagonal`` or ``correlated:32``."""

    name: str = "diagonal"
    by_time: bool = False
    """Whether deviations are those of each time; correlations are the same at all of them."""

    def __post_init__(self) -> None:
        noise_family(self.name)  # a wrong setting is an error before any work

    @classmethod
    def parse(cls, text: str) -> "NoiseSpec":
        """A form, and ``@time`` after it where deviations are those of each time.

        >>> NoiseSpec.parse("diagonal@time")
        NoiseSpec(name='diagonal', by_time=True)
        """
        name, at, word = text.partition("@")
        if at and word != "time":
            raise UsageError(f"after @ noise knows time only, as in {name}@time; got {text!r}")
        return cls(name, by_time=bool(at))

    def family(self, dim: int) -> NoiseFamily:
        """The family in so many dimensions; in one they are all the same."""
        return noise_family(self.name) if dim > 1 else Diagonal()


@dataclass(frozen=True, eq=False)
class ConstantNoise(Noise):
    """The same noise in every state."""

    scale: Scale

    @property
    def constant(self) -> bool:
        return True

    @property
    def diagonal(self) -> bool:
        """Whether coordinates are independent."""
        return self.scale.independent

    def __call__(self, t: Float[Tensor, "*batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        del t, x
        return self.scale

    def tensors(self) -> dict[str, Tensor]:
        return dict(vars(self.scale))

    @classmethod
    def independent(cls, std: Float[Tensor, " dim"]) -> "ConstantNoise":
        """Independent coordinates with these standard deviations."""
        return cls(DiagonalScale(std))

    @classmethod
    def of(
        cls, spec: NoiseSpec, covariance: Float[Tensor, "dim dim"], count: int | None = None
    ) -> "ConstantNoise":
        """The noise of that family nearest in likelihood to residuals of this covariance.

        Raises `BadNumbers` where it takes more residuals than `count`.
        """
        found = spec.family(len(covariance)).estimate(covariance, count)
        return cls(type(found)(**{name: tensor.float() for name, tensor in vars(found).items()}))

    @classmethod
    def restore(cls, spec: NoiseSpec, tensors: dict[str, Tensor]) -> "ConstantNoise":
        """The inverse of `tensors`."""
        one = tensors.keys() == {"std"} and len(tensors["std"]) == 1
        return cls(spec.family(1 if one else 2).restore(tensors))
