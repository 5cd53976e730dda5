r"""Metric for increments and noise, in coordinates standardised on the training states.

With :math:`x = zD + m` and the training standard deviations s of the coordinates of x, a latent
vector z has the squared length :math:`|zD/s|^2`. The rows of :math:`D/s` are orthogonal in every
basis, so this equals :math:`\sum_j w_j z_j^2` with :math:`w_j = |D_j/s|^2`.
"""

from jaxtyping import Float
from torch import Tensor

from sdelens.paths.basis import Basis


def standard_weights(basis: Basis) -> Float[Tensor, " latent"]:
    """Squared standardised length of a unit of each latent coordinate."""
    return (basis.decoder.double() / basis.spread.double()).square().sum(-1)


def per_dimension(
    squares: Float[Tensor, "*batch latent"], weights: Float[Tensor, " latent"]
) -> Float[Tensor, "*batch"]:
    """Weighted mean over latent coordinates of squares or variances, in standardised units."""
    return squares.double() @ weights.to(squares.device) / len(weights)
