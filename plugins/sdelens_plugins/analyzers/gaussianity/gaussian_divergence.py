r"""How far a fit's Gaussian is from one with the moments of the model's own law of the next state.

.. math::
    \mathrm{KL}\bigl(N(m^*,S^*)\,\|\,N(m,\Sigma)\bigr) = \tfrac12\bigl[
    \mathrm{tr}\,\Sigma^{-1}S^* - r + \log\det\Sigma - \log\det S^*\bigr]
    + \tfrac12\,\delta^\top\Sigma^{-1}\delta,\qquad \delta=m^*-m,

in nats, of the r eigenvectors of :math:`S^*` that hold most of its trace: in all others
:math:`S^*` has next to no variance, or none, and the divergence has no bound. It is that of
projections, hence no more than the whole. The law itself is over atoms, from which no Gaussian is
at a finite divergence in any direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.laws.matrices import cholesky
from sdelens_plugins.analyzers.gaussianity.spectrum import Spectrum


@dataclass(frozen=True, eq=False)
class GaussianDivergence:
    """Of some prefixes, in nats."""

    noise: Float[Tensor, "*batch"]
    """What is owed to the covariance: the first term."""
    mean: Float[Tensor, "*batch"]
    """What is owed to the mean: the second."""
    rank: Int[Tensor, "*batch"]
    floor: Float[Tensor, "*batch"]
    """The smallest eigenvalue that is kept; infinite where none is."""

    @classmethod
    def joined(cls, parts: "Sequence[GaussianDivergence]") -> "GaussianDivergence":
        """Of several batches of prefixes."""
        each = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*(torch.cat(values) for values in each))

    @property
    def nats(self) -> Float[Tensor, "*batch"]:
        """Both together."""
        return self.noise + self.mean


def gaussian_divergence(
    shape: Spectrum,
    mean: Float[Tensor, "*batch dim"],
    covariance: Float[Tensor, "*batch dim dim"],
) -> GaussianDivergence:
    """From the moments of each law to those of a fit, in the coordinates of the shape."""
    kept = shape.kept
    most = max(1, int(kept.sum(-1).max()))  # one point alone keeps none
    kept, values = kept[..., :most], shape.values[..., :most]
    axes = shape.vectors[..., :most, :] * kept[..., None]
    # directions that are not kept have variance 1 in both, and add nothing
    within = axes @ covariance.double() @ axes.mT + torch.diag_embed((~kept).double())
    off = (axes @ (shape.mean - mean.double())[..., None])[..., 0]
    root = cholesky(within)
    inverse = torch.cholesky_inverse(root)
    own = values.where(kept, 1.0)
    trace = (inverse.diagonal(dim1=-2, dim2=-1) * own).sum(-1) - most
    volume = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1) - own.log().sum(-1)
    square = (off[..., None, :] @ inverse @ off[..., None])[..., 0, 0]
    return GaussianDivergence(
        (trace + volume) / 2,
        square / 2,
        kept.sum(-1),
        values.masked_fill(~kept, torch.inf).amin(-1),
    )
