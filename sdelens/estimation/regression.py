r"""Multivariate ridge regression with Gaussian residuals; validation selects the penalty."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.matrices import cholesky
from sdelens.laws.scale import FullScale
from sdelens.paths.products import Products


def ridge(products: Products, penalty: Float[Tensor, " feature"]) -> Float[Tensor, "feature dim"]:
    """Ridge coefficients; the penalty is relative to the sum of squares of each feature."""
    squares = products.xx.diagonal()
    level = squares.where(squares > 0, 1.0)
    return torch.cholesky_solve(products.xy, cholesky(products.xx + (penalty * level).diag()))


def unexplained(
    products: Products, coefficients: Float[Tensor, "feature dim"]
) -> Float[Tensor, "dim dim"]:
    """Second moment E[ee'] of the residuals."""
    mixed = coefficients.mT @ products.xy
    total = products.yy - mixed - mixed.mT + coefficients.mT @ products.xx @ coefficients
    return total / products.count


@dataclass(frozen=True, eq=False)
class Regression:
    """The regression ``y = f B + e`` with Gaussian e."""

    coefficients: Float[Tensor, "feature dim"]
    root: Float[Tensor, "dim dim"]
    """Lower Cholesky factor of Cov e."""

    @classmethod
    def of(cls, train: Products, penalty: Float[Tensor, " feature"]) -> "Regression":
        """Fit by ridge regression; a millionth of the mean variance is added to Cov e.

        So is a small part of the variance of y: with more features than rows, nothing but
        rounding is left unexplained.
        """
        coefficients = ridge(train, penalty)
        left = unexplained(train, coefficients)
        total = train.yy.diagonal().mean() / train.count
        lift = 1e-6 * left.diagonal().mean() + 1e-10 * total
        return cls(coefficients, cholesky(left + lift * torch.eye(len(left)).to(left)))

    def nll(self, products: Products) -> float:
        """Negative log likelihood per row, up to a constant."""
        left = unexplained(products, self.coefficients)
        squares = torch.cholesky_solve(left, self.root).trace()
        return float(squares / 2 + self.root.diagonal().log().sum())

    def residual(
        self, features: Float[Tensor, "row feature"], target: Float[Tensor, "row dim"]
    ) -> Float[Tensor, "row dim"]:
        """Whitened residuals."""
        left = target - features @ self.coefficients.to(features)
        white: Tensor = torch.linalg.solve_triangular(self.root.to(left), left.mT, upper=False)
        return white.mT

    def log_density(
        self, features: Float[Tensor, "row feature"], target: Float[Tensor, "row dim"]
    ) -> Float[Tensor, " row"]:
        """Log density in nats."""
        left = target - features @ self.coefficients.to(features)
        return FullScale(self.root.to(left)).log_density(left)
