r"""The spectrum of a law over points, and its departure from normality along the first direction.

Points :math:`y_k` with weights :math:`w_k` have the covariance S with eigenvalues
:math:`\lambda_i`, largest first, and projections :math:`p_k` on the first eigenvector. Two points,
the rarer of probability q, have the excess kurtosis :math:`1/(q(1-q))-6`, at least -2; a normal
law has 0. Laws that are nearly one point can have a kurtosis in the thousands; the largest gap
between the distribution function of the projection and the normal one is at most 1.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.errors import BadNumbers

KEPT = 0.95
"""The share of the trace of S in the directions that are kept."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The spectra of some laws, each over its own points."""

    mean: Float[Tensor, "*batch dim"]
    values: Float[Tensor, "*batch direction"]
    vectors: Float[Tensor, "*batch direction dim"]
    """Unit rows; some are zero if there are fewer points than directions."""
    projection: Float[Tensor, "*batch point"]
    """The projection on the first direction, from the mean, in standard deviations."""
    kurtosis: Float[Tensor, "*batch"]
    """Excess kurtosis of the projection."""
    gap: Float[Tensor, "*batch"]
    """The largest difference of its distribution function from the normal one."""

    @classmethod
    def of(
        cls, points: Float[Tensor, "*batch point dim"], weights: Float[Tensor, "*batch point"]
    ) -> "Spectrum":
        """Computed from the smaller of the two Gram matrices.

        Raises `BadNumbers` if points are not finite.
        """
        points, weights = points.double(), weights.double()
        if not points.isfinite().all():
            raise BadNumbers("states after next tokens must be finite: use --dtype float32")
        mean = (weights[..., None] * points).sum(-2)
        deviations = points - mean[..., None, :]
        values, vectors = _principal(weights.sqrt()[..., None] * deviations)
        along = (deviations @ vectors[..., :1, :].mT)[..., 0]
        second = (weights * along.square()).sum(-1)
        fourth = (weights * along.pow(4)).sum(-1)
        scale = second.clamp(min=torch.finfo(second.dtype).tiny)
        projection = along / scale.sqrt()[..., None]
        kurtosis = fourth / scale / scale - 3
        return cls(mean, values, vectors, projection, kurtosis, _gap(projection, weights))

    @property
    def variance(self) -> Float[Tensor, "*batch"]:
        r""":math:`\mathrm{tr}\,S` per dimension."""
        return self.values.sum(-1) / self.mean.shape[-1]

    @property
    def participation(self) -> Float[Tensor, "*batch"]:
        r""":math:`(\mathrm{tr}\,S)^2/\mathrm{tr}\,S^2`, the effective number of directions."""
        return self.values.sum(-1).square() / self.values.square().sum(-1)

    def share(self, first: int) -> Float[Tensor, "*batch"]:
        """The share of the trace in the first `first` directions."""
        return self.values[..., :first].sum(-1) / self.values.sum(-1)

    @property
    def kept(self) -> Bool[Tensor, "*batch direction"]:
        """The fewest first directions with `KEPT` of the trace."""
        before = self.values.cumsum(-1) - self.values
        kept: Tensor = before < KEPT * self.values.sum(-1, keepdim=True)
        return kept

    @property
    def rank(self) -> Int[Tensor, "*batch"]:
        """The number of directions that are kept."""
        return self.kept.sum(-1)


def _gap(
    projection: Float[Tensor, "*batch point"], weights: Float[Tensor, "*batch point"]
) -> Float[Tensor, "*batch"]:
    """The Kolmogorov distance, before and after each step of the distribution function."""
    ordered, order = projection.sort(-1)
    steps = weights.gather(-1, order)
    above, normal = steps.cumsum(-1), torch.special.ndtr(ordered)
    gap: Tensor = torch.maximum((above - normal).abs(), (normal - above + steps).abs()).amax(-1)
    return gap


def _principal(
    rows: Float[Tensor, "*batch point dim"],
) -> tuple[Float[Tensor, "*batch direction"], Float[Tensor, "*batch direction dim"]]:
    """Eigenvalues of the Gram matrix of the rows, largest first, and unit eigenvectors as rows."""
    points, dim = rows.shape[-2:]
    if points >= dim:
        values, vectors = torch.linalg.eigh(rows.mT @ rows)
        return values.flip(-1).clamp(min=0), vectors.mT.flip(-2)
    values, vectors = torch.linalg.eigh(rows @ rows.mT)
    values, rotated = values.flip(-1).clamp(min=0), vectors.mT.flip(-2) @ rows
    length = rotated.norm(dim=-1, keepdim=True)
    # a direction without variance is rounding error
    real = length > 1e-9 * length[..., :1, :]
    return values, (rotated / length.clamp(min=torch.finfo(rows.dtype).tiny)).where(real, 0.0)
