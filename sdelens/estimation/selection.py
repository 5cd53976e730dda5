"""Selection of the penalties of a closed-form mean on validation documents."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.additive import AdditiveMean, Terms, least_squares, residual_variance
from sdelens.paths.moments import Moments

RIDGES = (1e-6, 1e-4, 1e-2, 1.0, 10.0, 100.0)
"""Ridge penalties on A per transition, relative to the mean square of each coordinate."""
SHRINKAGES = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)
"""Penalties on token and position effects, as pseudo-observations of zero effect."""


def selected(
    train: Moments,
    validation: Moments,
    terms: Terms,
    ridge: float | None = None,
    *,
    asked: slice = slice(None),
) -> AdditiveMean:
    """Least squares with the penalties that predict the validation transitions best.

    The criterion is the Gaussian likelihood of the `asked` coordinates with constant diagonal
    noise. A larger ridge is selected only if it is better than the smallest by more than two
    standard errors of the difference: if no ridge is needed, the noise in a small validation set
    would cost more than a ridge gains.
    """
    ridges = RIDGES if ridge is None else (ridge,)
    shrinkages = SHRINKAGES if terms.token or terms.position else SHRINKAGES[:1]
    lightest, *heavier = [
        _best(
            [least_squares(train, terms, ridge=r, shrinkage=s) for s in shrinkages],
            validation,
            asked,
        )
        for r in (ridges if terms.state else ridges[:1])
    ]
    better = [fit for fit in heavier if _shown(fit, lightest, validation, asked)]
    return _best([lightest, *better], validation, asked)


def _best(fits: Sequence[AdditiveMean], validation: Moments, asked: slice) -> AdditiveMean:
    """The fit with the lowest validation loss."""
    if len(fits) == 1:
        return fits[0]
    losses = [float(_loss(fit, validation)[asked].sum()) for fit in fits]
    return fits[losses.index(min(losses))]


def _loss(fit: AdditiveMean, validation: Moments) -> Float[Tensor, " dim"]:
    """Negative log likelihood of each coordinate in nats, up to a constant."""
    return validation.count / 2 * residual_variance(fit, validation).log()


def _shown(fit: AdditiveMean, other: AdditiveMean, validation: Moments, asked: slice) -> bool:
    """Whether `fit` is better than `other` by more than two standard errors.

    The variance of a difference of log likelihoods is the mean squared difference of the
    predictions, in units of the standard deviation of the residuals.
    """
    variance = residual_variance(other, validation)
    apart = (fit.matrix - other.matrix).double()
    total = validation.position_x.sum(0)
    spread = validation.xx - total[:, None] * total / validation.count
    squares = ((apart @ spread) * apart).sum(1).clamp(min=0) / variance
    gain = float((_loss(other, validation) - _loss(fit, validation))[asked].sum())
    return gain > 2 * float(squares[asked].sum().sqrt())
