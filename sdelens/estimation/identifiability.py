r"""How well a linear drift can be known at all, before anything is fitted.

Least squares of :math:`X' = BX + c + \varepsilon` over N transitions misses B by
:math:`E\lVert\hat B - B\rVert_F^2 = \mathrm{tr}(S)\,\mathrm{tr}(P^{-1})/N` to first order, with S
the noise of a step and P the covariance of the states; as dt falls this is the Cramer-Rao bound
:math:`\mathrm{tr}(a)\,\mathrm{tr}(P^{-1})/T` for the drift of a diffusion. What a user sees is the
drift on the data's own states: there the expected squared error is :math:`\mathrm{tr}(S)(d+1)/N`,
to be held against the drift's energy :math:`E\lVert BX + c - X\rVert^2`.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.paths.moments import Moments

TOO_MUCH = 0.5
"""A relative error from which on advice is given."""


@dataclass(frozen=True)
class Identifiability:
    """The expected relative error of an unregularised linear drift."""

    dim: int
    transitions: int
    error: float
    """The root of expected squared error over energy, on the data's states: 1 is 100%; infinite
    where there are no more transitions than unknowns in a row, or no drift beyond its error."""

    @classmethod
    def of(cls, moments: Moments) -> "Identifiability":
        """By the moments of training transitions, one intercept for all positions."""
        mean_x = moments.position_x.sum(0) / moments.count
        mean_y = moments.position_y.sum(0) / moments.count
        return cls.from_covariances(
            moments.xx / moments.count - mean_x[:, None] * mean_x,
            moments.xy / moments.count - mean_x[:, None] * mean_y,
            moments.yy / moments.count - mean_y[:, None] * mean_y,
            mean_y - mean_x,
            moments.count,
        )

    @classmethod
    def from_covariances(
        cls,
        xx: Float[Tensor, "dim dim"],
        xy: Float[Tensor, "dim dim"],
        yy: Float[Tensor, "dim dim"],
        step: Float[Tensor, " dim"],
        transitions: int,
    ) -> "Identifiability":
        """By centred second moments of state and next state, and the mean increment."""
        dim, spare = len(xx), transitions - len(xx) - 1
        if spare <= 0:
            return cls(dim, transitions, math.inf)
        level = 1e-9 * xx.diagonal().mean() * torch.eye(dim).to(xx)
        slope = torch.linalg.solve(xx + level, xy)
        noise = float((yy - xy.mT @ slope).trace().clamp(min=0)) * transitions / spare
        rate = slope - torch.eye(dim).to(slope)
        error = noise * (dim + 1) / transitions
        # the energy of an estimated drift holds the error of the estimate
        energy = float((rate.mT @ xx @ rate).trace() + step.square().sum()) - error
        return cls(dim, transitions, math.sqrt(error / energy) if energy > 0 else math.inf)

    @property
    def poor(self) -> bool:
        """Whether a fit without a penalty would be mostly noise."""
        return self.error > TOO_MUCH

    @property
    def needed(self) -> int | None:
        """Transitions for an error of `TOO_MUCH`; None where that cannot be said."""
        if not math.isfinite(self.error):
            return None
        return math.ceil(self.transitions * (self.error / TOO_MUCH) ** 2)

    def __str__(self) -> str:
        """One sentence, and advice where the error is large."""
        drift = (
            f"an unregularised linear drift of {self.dim:,} coordinates from "
            f"{self.transitions:,} transitions"
        )
        if not math.isfinite(self.error):
            return f"No direction of {drift} can be told from noise: {self._advice()}."
        said = f"The expected error of {drift} is {self.error:.0%} of the drift itself"
        return f"{said}: {self._advice()}." if self.poor else f"{said}."

    def _advice(self) -> str:
        fewer = max(1, int(self.dim * (TOO_MUCH / self.error) ** 2)) if self.needed else 1
        more = f", or give about {self.needed:,} transitions" if self.needed else ""
        return (
            "rely on the ridge that validation chooses, fit fewer directions "
            f"(--basis pca:{fewer}){more}"
        )
