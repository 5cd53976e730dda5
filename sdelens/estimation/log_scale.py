r"""Log-linear variance :math:`w_i \sim N(0, e^{\phi^\top b_i})`, fitted by Fisher scoring.

The Fisher information of :math:`b_i` is :math:`\tfrac12\Phi^\top\Phi` for every value of
:math:`b_i`, so one Cholesky factor serves all steps and coordinates (Harvey, "Estimating
regression models with multiplicative heteroscedasticity", 1976).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.matrices import cholesky
from sdelens.paths.products import products_of

WIDEST = 4.0
"""Bound on the absolute log variance, since features may be far from the training data."""
SWEEPS = 6
"""Maximum number of steps."""
CONVERGED = 1e-7
"""Expected gain of a step, in nats per row, below which it is the last."""


@dataclass(frozen=True, eq=False)
class LogScale:
    """Variance of each coordinate given the features."""

    coefficients: Float[Tensor, "feature dim"]

    def log_variance(self, features: Float[Tensor, "row feature"]) -> Float[Tensor, "row dim"]:
        """Log variance of each coordinate, clamped to ±`WIDEST`."""
        return (features @ self.coefficients.to(features)).clamp(-WIDEST, WIDEST)

    def log_density(
        self, features: Float[Tensor, "row feature"], white: Float[Tensor, "row dim"]
    ) -> Float[Tensor, " row"]:
        """Log density in nats, up to a constant."""
        logs = self.log_variance(features)
        return -0.5 * (white.square() * (-logs).exp() + logs).sum(-1)

    def standardised(
        self, features: Float[Tensor, "row feature"], white: Float[Tensor, "row dim"]
    ) -> Float[Tensor, "row dim"]:
        """Divide each coordinate by its standard deviation."""
        return white * (-0.5 * self.log_variance(features)).exp()

    @classmethod
    def of(
        cls,
        features: Float[Tensor, "row feature"],
        white: Float[Tensor, "row dim"],
        penalty: Float[Tensor, " feature"],
        gram: Float[Tensor, "feature feature"] | None = None,
    ) -> "LogScale":
        """Fit by Fisher scoring from a constant variance; the first feature must be constant.

        `gram` is that of the features, if it is known.
        """
        squares = white.square()
        gram = products_of(features, squares[:, :1]).xx if gram is None else gram
        # twice the penalty, because the information is half the Gram matrix
        weight = 2 * penalty * gram.diagonal()
        root = cholesky(gram + weight.diag())
        fitted = cls(gram.new_zeros(len(gram), squares.shape[1]))
        fitted.coefficients[0] = squares.double().mean(0).log()
        for _ in range(SWEEPS):
            excess = squares * (-fitted.log_variance(features)).exp() - 1
            slope = (features.mT @ excess).double() - weight[:, None] * fitted.coefficients
            step = torch.cholesky_solve(slope, root)
            fitted = cls(fitted.coefficients + step)
            if float((slope * step).sum()) < CONVERGED * len(features):
                break
        return fitted
