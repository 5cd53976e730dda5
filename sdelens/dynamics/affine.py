"""Laws whose step is affine in the state with constant noise, for closed-form recursions."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.additive import AdditiveMean, nearest
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.sde import SDE, KernelSDE, LinearSDE


@dataclass(frozen=True, eq=False)
class Affine:
    """``X' = A x + c_t + noise`` with the same Gaussian noise in every state."""

    matrix: Float[Tensor, "dim dim"]
    offset: Callable[[Tensor], Tensor]
    """c at a time."""
    covariance: Float[Tensor, "dim dim"]

    @classmethod
    def of(cls, sde: SDE) -> "Affine | None":
        """The step of a law in float64; None if the law is not affine."""
        if isinstance(sde, LinearSDE):
            root, offset, at = sde.step_root.double(), sde.step_offset.double(), sde.times
            matrix = sde.step_matrix.double()
            return cls(matrix, lambda t: offset[nearest(at, t)], root @ root.mT)
        if not isinstance(sde, KernelSDE):
            return None
        mean, noise = sde.mean, sde.noise
        if not (isinstance(mean, AdditiveMean) and isinstance(noise, ConstantNoise)):
            return None
        times, by_time = mean.times, mean.by_time.double()
        covariance = noise.scale.covariance().double()
        return cls(mean.matrix.double(), lambda t: by_time[nearest(times, t)], covariance)
