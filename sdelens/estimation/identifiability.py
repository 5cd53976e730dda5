r"""Identifiability of a linear drift: its expected error, before a law is fitted.

Least squares of :math:`X' = BX + c + \varepsilon` over N transitions has the expected error
:math:`E\lVert\hat B - B\rVert_F^2 = \mathrm{tr}(S)\,\mathrm{tr}(P^{-1})/N` to first order, where S
is the covariance of the noise of a step and P that of the states. As dt tends to zero this is the
Cramer-Rao bound :math:`\mathrm{tr}(a)\,\mathrm{tr}(P^{-1})/T` for the drift of a diffusion. For
the drift at the states of the data the expected squared error is :math:`\mathrm{tr}(S)(d+1)/N`,
which is compared with the mean square of the drift, :math:`E\lVert BX + c - X\rVert^2`.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.paths.moments import Moments
from sdelens.wording import counted

TOO_MUCH = 0.5
"""Relative error above which advice is given."""
FEW = 3
"""Fewest directions that a fit is advised to keep."""

GOOD = 0.1
"""Relative error that is planned for."""
NOISE_RATIO = 1.5
"""Noise of a step over mean square drift before there are data: a linear drift that explains two
fifths of the motion, as in the middle layers of language models."""


def expected_error(dim: int, transitions: int) -> float:
    """Expected relative error of an unregularised linear drift, before there are data."""
    return math.sqrt(NOISE_RATIO * (dim + 1) / max(1, transitions))


def transitions_needed(dim: int, error: float) -> int:
    """Transitions for this expected error, to two digits.

    >>> transitions_needed(576, 0.1)
    87000
    """
    exact = NOISE_RATIO * (dim + 1) / error**2
    unit: int = 10 ** max(0, int(math.log10(exact)) - 1)
    return math.ceil(exact / unit) * unit


def coordinates_for(transitions: int, error: float) -> int:
    """The most coordinates for which transitions give this expected error."""
    return max(0, int(transitions * error**2 / NOISE_RATIO) - 1)


@dataclass(frozen=True)
class Identifiability:
    """Expected relative error of an unregularised linear drift."""

    dim: int
    transitions: int
    error: float
    """Square root of expected squared error over mean square drift at the states of the data; 1
    is 100%. Infinite if there are no more transitions than unknowns per row, or if the estimated
    drift is no larger than its error."""

    @classmethod
    def of(cls, moments: Moments) -> "Identifiability":
        """Compute from the moments of training transitions, with a single intercept."""
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
        """Compute from centred second moments of state and next state, and the mean increment."""
        dim, spare = len(xx), transitions - len(xx) - 1
        if spare <= 0:
            return cls(dim, transitions, math.inf)
        level = (1e-9 * xx.diagonal()).diag()
        slope = torch.linalg.solve(xx + level, xy)
        noise = float((yy - xy.mT @ slope).trace().clamp(min=0)) * transitions / spare
        rate = slope - torch.eye(dim).to(slope)
        error = noise * (dim + 1) / transitions
        # the mean square of an estimated drift includes the error of the estimate
        energy = float((rate.mT @ xx @ rate).trace() + step.square().sum()) - error
        return cls(dim, transitions, math.sqrt(error / energy) if energy > 0 else math.inf)

    @property
    def poor(self) -> bool:
        """Whether an unregularised fit would be mostly noise."""
        return self.error > TOO_MUCH

    @property
    def needed(self) -> int | None:
        """Number of transitions for an error of `TOO_MUCH`; None if the error is infinite."""
        if not math.isfinite(self.error):
            return None
        return math.ceil(self.transitions * (self.error / TOO_MUCH) ** 2)

    def __str__(self) -> str:
        """The expected error in one sentence, with advice if it is large."""
        drift = (
            f"an unregularised linear drift of {counted(self.dim, 'coordinate')} from "
            f"{self.transitions:,} transitions"
        )
        if not math.isfinite(self.error):
            return f"No direction of {drift} can be distinguished from noise: {self._advice()}."
        said = f"The expected error of {drift} is {self.error:.0%} of the drift itself"
        return f"{said}: {self._advice()}." if self.poor else f"{said}."

    def _advice(self) -> str:
        fewer = int(self.dim * (TOO_MUCH / self.error) ** 2) if self.needed else 0
        advice = ["rely on the ridge penalty chosen on validation"]
        if fewer >= FEW:
            advice.append(f"fit fewer directions (--basis pca:{fewer})")
        advice.append(
            f"use about {self.needed:,} transitions" if self.needed else "use more texts"
        )
        return f"{', '.join(advice[:-1])}, or {advice[-1]}"
