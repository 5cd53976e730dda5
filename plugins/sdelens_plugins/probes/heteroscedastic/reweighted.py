r"""Weighted least squares with separate weights for every coordinate and transition.

Each coordinate i has its own normal equations :math:`\sum w_i\phi\phi^\top b_i = \sum w_i\phi
r_i`. Their matrices are never formed: conjugate gradients (Hestenes and Stiefel 1952) solve all
systems in parallel, preconditioned by the unweighted Gram matrix. An iteration is one pass over
the data.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.additive import AdditiveMean
from sdelens.estimation.log_variance import WORTH, LogLinearNoise, Residuals
from sdelens.estimation.noise import NoiseFeatures

ITERATIONS = 50


def reweighted(
    mean: AdditiveMean,
    noise: LogLinearNoise,
    residuals: Residuals,
    *,
    ridge: float,
    towards: Float[Tensor, " dim"],
) -> AdditiveMean:
    """The optimal mean for a given noise; `residuals` are those of `mean`.

    The matrix and the intercept change, and position effects by a smooth function of time. The
    matrix is penalised towards the diagonal `towards`, by `ridge` times the mean weight per
    transition in units of unit state variance.
    """
    features, gram = residuals.features, residuals.gram()
    count = float(gram[0, 0])
    weights = [weight.sum(0) for _, _, weight in _weighted(residuals, noise)]
    level = torch.stack(weights).sum(0) / count
    slopes = torch.full_like(gram[:, :1], ridge * count)
    slopes[0] = 0
    root = torch.linalg.cholesky(gram + slopes[:, 0].diag())
    present = torch.zeros(len(gram), mean.matrix.shape[0]).to(gram)
    present[1 : 1 + len(features.std)] = ((mean.matrix - towards.diag()) * features.std).mT
    score = -slopes * level * present
    for phi, residual, weight in _weighted(residuals, noise):
        score = score + phi.mT @ (weight * residual)

    def normal(b: Tensor) -> Tensor:
        products = (
            phi.mT @ (weight * (phi @ b)) for phi, _, weight in _weighted(residuals, noise)
        )
        return torch.stack(list(products)).sum(0) + slopes * level * b

    correction = conjugate_gradients(
        normal, score, lambda b: torch.cholesky_solve(b, root) / level
    )
    return _corrected(mean, features, correction)


def _weighted(
    residuals: Residuals, noise: LogLinearNoise
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Features, residuals and inverse variances."""
    for phi, residual in residuals:
        yield phi, residual, (-noise.log_variance(phi)).exp()


def conjugate_gradients(
    matrix: Callable[[Tensor], Tensor],
    right: Float[Tensor, "feature dim"],
    preconditioner: Callable[[Tensor], Tensor],
) -> Float[Tensor, "feature dim"]:
    """Solve one symmetric positive definite system for each column."""
    # scipy.sparse.linalg.cg solves for one column; each product with the matrix is a pass over the
    # data, which all columns share here
    solution, rest = torch.zeros_like(right), right
    direction = white = preconditioner(rest)
    squares = (rest * white).sum(0)
    for _ in range(ITERATIONS):
        if (squares < WORTH).all():
            break
        product = matrix(direction)
        length = squares / (direction * product).sum(0).clamp(min=torch.finfo(right.dtype).tiny)
        solution = solution + length * direction
        rest = rest - length * product
        white = preconditioner(rest)
        before, squares = squares, (rest * white).sum(0)
        direction = white + squares / before.clamp(min=torch.finfo(right.dtype).tiny) * direction
    return solution


def _corrected(
    mean: AdditiveMean, features: NoiseFeatures, correction: Float[Tensor, "feature dim"]
) -> AdditiveMean:
    """The mean plus a linear function of the features."""
    dim = len(features.std)
    intercept, state, clock = correction[0], correction[1 : 1 + dim], correction[1 + dim :]
    slope = state / features.std[:, None]
    by_time = (
        intercept - features.mean.double() @ slope + features.clock(mean.times.double()) @ clock
    )
    return AdditiveMean(
        mean.matrix + slope.mT, mean.times, mean.by_time + by_time, mean.known, mean.by_token
    )
