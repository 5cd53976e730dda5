r"""Divergence of a fit from the Gaussian with the moments of the model's next-state law.

.. math::
    \mathrm{KL}\bigl(N(m^*,S^*)\,\|\,N(m,\Sigma)\bigr) = \tfrac12\bigl[
    \mathrm{tr}\,\Sigma^{-1}S^* - r + \log\det\Sigma - \log\det S^*\bigr]
    + \tfrac12\,\delta^\top\Sigma^{-1}\delta,\qquad \delta=m^*-m,

in nats, on the r eigenvectors of :math:`S^*` that have most of its trace. In all other directions
:math:`S^*` has almost no variance, and the divergence is unbounded. A divergence of projections is
at most that of the whole. The law itself is discrete, and its divergence from any Gaussian is
infinite in every direction.
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
    """Divergences after some prefixes, in nats."""

    noise: Float[Tensor, "*batch"]
    """The first term, due to the covariance."""
    mean: Float[Tensor, "*batch"]
    """The second term, due to the mean."""
    rank: Int[Tensor, "*batch"]
    floor: Float[Tensor, "*batch"]
    """The smallest eigenvalue that is kept; infinite where none is."""

    @classmethod
    def concatenated(cls, parts: "Sequence[GaussianDivergence]") -> "GaussianDivergence":
        """The divergences of several batches of prefixes."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*map(torch.cat, columns))

    @property
    def nats(self) -> Float[Tensor, "*batch"]:
        """The sum of both terms."""
        return self.noise + self.mean


def gaussian_divergence(
    spectrum: Spectrum,
    mean: Float[Tensor, "*batch dim"],
    covariance: Float[Tensor, "*batch dim dim"],
) -> GaussianDivergence:
    """The divergence of each law's Gaussian from that of a fit, in the coordinates of the law."""
    kept = spectrum.kept
    most = max(1, int(kept.sum(-1).max()))  # a single point keeps none
    kept, values = kept[..., :most], spectrum.values[..., :most]
    axes = spectrum.vectors[..., :most, :] * kept[..., None]
    # directions that are not kept have variance 1 in both, and add nothing
    within = axes @ covariance.double() @ axes.mT + torch.diag_embed((~kept).double())
    offset = (axes @ (spectrum.mean - mean.double())[..., None])[..., 0]
    root = cholesky(within)
    inverse = torch.cholesky_inverse(root)
    own = values.where(kept, 1.0)
    trace = (inverse.diagonal(dim1=-2, dim2=-1) * own).sum(-1) - most
    volume = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1) - own.log().sum(-1)
    square = (offset[..., None, :] @ inverse @ offset[..., None])[..., 0, 0]
    return GaussianDivergence(
        (trace + volume) / 2,
        square / 2,
        kept.sum(-1),
        values.masked_fill(~kept, torch.inf).amin(-1),
    )
