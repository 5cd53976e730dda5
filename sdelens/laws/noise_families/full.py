"""Noise family ``full``: any covariance, stored as its Cholesky factor."""

from dataclasses import dataclass
from typing import ClassVar, cast

from jaxtyping import Float
from torch import Tensor

from sdelens.errors import BadNumbers
from sdelens.laws.matrices import cholesky
from sdelens.laws.noise_families.family import NoiseFamily, standardised
from sdelens.laws.scale import FullScale, Scale


@dataclass(frozen=True)
class Full(NoiseFamily):
    """Any covariance."""

    usage: ClassVar[str] = "full"
    scale: ClassVar[type[Scale]] = FullScale

    def estimate(
        self, covariance: Float[Tensor, "dim dim"], count: int | None = None
    ) -> FullScale:
        dim = len(covariance)
        if count is not None and count <= dim:
            raise BadNumbers(
                f"full noise of {dim} coordinates needs more than {dim} transitions, got {count}: "
                f"use more, or --set probe.noise=diagonal, or --basis pca:{max(1, count // 8)}"
            )
        std, correlation = standardised(covariance)
        correlation.diagonal().add_(1e-6)  # some coordinates may be identical
        return FullScale(cholesky(correlation) * std[:, None])

    def free(self, scale: Scale, std: Float[Tensor, " dim"]) -> dict[str, Tensor]:
        """The strictly lower part of the factor, and the logarithm of its diagonal."""
        root = cast(FullScale, scale).root / std[:, None]
        return {"log_diagonal": root.diagonal().log(), "below": root.tril(-1)}

    def correlation(self, free: dict[str, Tensor]) -> FullScale:
        # the entries of "below" on and above the diagonal are not used
        return FullScale(free["below"].tril(-1) + free["log_diagonal"].exp().diag_embed())
