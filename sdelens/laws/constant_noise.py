r"""Noise that is the same in every state, in one of several families.

- ``scalar``: one standard deviation for all coordinates;
- ``diagonal``: one standard deviation per coordinate;
- ``correlated:k``: :math:`S = D^2 + UU^\top` with k columns;
- ``full``: any covariance, stored as its Cholesky factor.

Each family has a file in `sdelens.laws.noise_families`.
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
    """A noise family named by its setting, such as ``diagonal`` or ``correlated:32``."""

    name: str = "diagonal"
    by_time: bool = False
    """Whether standard deviations depend on the time; correlations never do."""

    def __post_init__(self) -> None:
        noise_family(self.name)  # fail early on an invalid setting

    @classmethod
    def parse(cls, text: str) -> "NoiseSpec":
        """Parse a family name, followed by ``@time`` if standard deviations depend on the time.

        >>> NoiseSpec.parse("diagonal@time")
        NoiseSpec(name='diagonal', by_time=True)
        """
        name, at, word = text.partition("@")
        if at and word != "time":
            raise UsageError(f"only time may follow @ in noise, as in {name}@time; got {text!r}")
        return cls(name, by_time=bool(at))

    def family(self, dim: int) -> NoiseFamily:
        """The noise family in `dim` dimensions; in one dimension all families are diagonal."""
        return noise_family(self.name) if dim > 1 else Diagonal()


@dataclass(frozen=True, eq=False)
class ConstantNoise(Noise):
    """Noise with the same `Scale` in every state."""

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
        """Noise with independent coordinates and the given standard deviations."""
        return cls(DiagonalScale(std))

    @classmethod
    def of(
        cls, spec: NoiseSpec, covariance: Float[Tensor, "dim dim"], count: int | None = None
    ) -> "ConstantNoise":
        """Maximum likelihood estimate within a family, given the covariance of the residuals.

        Raises `BadNumbers` if the family needs more residuals than `count`.
        """
        found = spec.family(len(covariance)).estimate(covariance, count)
        return cls(type(found)(**{name: tensor.float() for name, tensor in vars(found).items()}))

    @classmethod
    def restore(cls, spec: NoiseSpec, tensors: dict[str, Tensor]) -> "ConstantNoise":
        """Restore from the result of `tensors`."""
        one = tensors.keys() == {"std"} and len(tensors["std"]) == 1
        return cls(spec.family(1 if one else 2).restore(tensors))
