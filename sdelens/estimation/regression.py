r"""Multivariate ridge regression with Gaussian residuals, its penalty chosen on validation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.matrices import cholesky
from sdelens.laws.scale import FullScale

CHUNK = 8192
"""Rows that are made double precision at a time."""


@dataclass(frozen=True, eq=False)
class Products:
    """Sums of products of features f and targets y: all that least squares needs to know."""

    gram: Float[Tensor, "feature feature"]
    cross: Float[Tensor, "feature dim"]
    square: Float[Tensor, "dim dim"]
    count: int

    @classmethod
    def of(
        cls, features: Float[Tensor, "row feature"], target: Float[Tensor, "row dim"]
    ) -> "Products":
        """In double precision."""
        width = features.shape[1]
        both = features.new_zeros(*[width + target.shape[1]] * 2, dtype=torch.float64)
        pieces = (torch.split(side, CHUNK) for side in (features, target))
        for f, y in zip(*pieces, strict=True):
            rows = torch.cat([f, y], dim=1).double()
            both += rows.mT @ rows
        return cls(both[:width, :width], both[:width, width:], both[width:, width:], len(target))

    def __add__(self, other: "Products") -> "Products":
        return Products(
            self.gram + other.gram,
            self.cross + other.cross,
            self.square + other.square,
            self.count + other.count,
        )

    def solve(self, penalty: Float[Tensor, " feature"]) -> Float[Tensor, "feature dim"]:
        """Coefficients under a penalty that is a share of each feature's own sum of squares."""
        level = self.gram.diagonal().clamp(min=1e-12 * float(self.gram.diagonal().max()))
        root = cholesky(self.gram + (penalty * level).diag())
        return torch.cholesky_solve(self.cross, root)

    def residual(self, coefficients: Float[Tensor, "feature dim"]) -> Float[Tensor, "dim dim"]:
        """E[ee'] of what the coefficients leave."""
        mixed = coefficients.mT @ self.cross
        total = self.square - mixed - mixed.mT + coefficients.mT @ self.gram @ coefficients
        return total / self.count


@dataclass(frozen=True, eq=False)
class Regression:
    """The law ``y = f B + e`` with normal e."""

    coefficients: Float[Tensor, "feature dim"]
    root: Float[Tensor, "dim dim"]
    """The lower factor of Cov e."""

    @classmethod
    def of(cls, train: Products, penalty: Float[Tensor, " feature"]) -> "Regression":
        """Ridge coefficients and the covariance of what they leave, lifted by a millionth."""
        coefficients = train.solve(penalty)
        left = train.residual(coefficients)
        lift = 1e-6 * left.diagonal().mean()
        return cls(coefficients, cholesky(left + lift * torch.eye(len(left)).to(left)))

    def nll(self, products: Products) -> float:
        """Negative log likelihood per row, less its constant."""
        left = products.residual(self.coefficients)
        squares = torch.cholesky_solve(left, self.root).trace()
        return float(squares / 2 + self.root.diagonal().log().sum())

    def residual(
        self, features: Float[Tensor, "row feature"], target: Float[Tensor, "row dim"]
    ) -> Float[Tensor, "row dim"]:
        """What is left, whitened."""
        left = target - features @ self.coefficients.to(features)
        white: Tensor = torch.linalg.solve_triangular(self.root.to(left), left.mT, upper=False)
        return white.mT

    def log_density(
        self, features: Float[Tensor, "row feature"], target: Float[Tensor, "row dim"]
    ) -> Float[Tensor, " row"]:
        """In nats."""
        left = target - features @ self.coefficients.to(features)
        return FullScale(self.root.to(left)).log_density(left)


def chosen(
    train: Products, validation: Products, penalties: Sequence[Float[Tensor, " feature"]]
) -> tuple[Regression, Float[Tensor, " feature"]]:
    """The regression, and its penalty, that predict validation best."""
    fits = [Regression.of(train, penalty) for penalty in penalties]
    losses = [fit.nll(validation) for fit in fits]
    best = losses.index(min(losses))
    return fits[best], penalties[best]
