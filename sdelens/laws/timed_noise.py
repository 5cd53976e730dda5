"""Noise that is the same in every state but depends on the time."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sdelens.laws.constant_noise import ConstantNoise, NoiseSpec
from sdelens.laws.law import Noise, group_of, prefixed
from sdelens.laws.scale import DiagonalScale, Scale, ScaledCorrelation
from sdelens.paths.moments import nearest


@dataclass(frozen=True, eq=False)
class TimedNoise(Noise):
    r"""Noise with covariance :math:`S_t = \mathrm{diag}(s_t)\,R\,\mathrm{diag}(s_t)`, R constant.

    A time that was not fitted uses the deviations of the nearest fitted time.
    """

    times: Float[Tensor, " time"]
    deviations: Float[Tensor, "time dim"]
    shape: ConstantNoise | None = None
    """R; None if the coordinates are independent."""

    @property
    def constant(self) -> bool:
        return True

    @property
    def diagonal(self) -> bool:
        """Whether coordinates are independent."""
        return self.shape is None

    def __call__(self, t: Float[Tensor, "*batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        del x  # constant in the state
        std = self.deviations[nearest(self.times, t)]
        return (
            DiagonalScale(std) if self.shape is None else ScaledCorrelation(std, self.shape.scale)
        )

    def tensors(self) -> dict[str, Tensor]:
        own = {"times": self.times, "deviations": self.deviations}
        return own | (prefixed(shape=self.shape.tensors()) if self.shape else {})


StatelessNoise = ConstantNoise | TimedNoise
"""Noise that is the same in every state."""


def restored_noise(spec: NoiseSpec, tensors: dict[str, Tensor]) -> StatelessNoise:
    """Restore the noise from its saved tensors."""
    if not spec.by_time:
        return ConstantNoise.restore(spec, tensors)
    shape = group_of(tensors, "shape")
    around = ConstantNoise.restore(spec, shape) if shape else None
    return TimedNoise(tensors["times"], tensors["deviations"], around)
