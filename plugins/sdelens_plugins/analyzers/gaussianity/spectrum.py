r"""The shape of a law over points: its spectrum, and how normal it is along its first direction.

Of points :math:`y_k` with weights :math:`w_k`, S is their covariance, :math:`\lambda_i` its
eigenvalues, largest first, and :math:`p_k` the projections on the first eigenvector. Two points,
the rarer of probability q, have the excess kurtosis :math:`1/(q(1-q))-6`, which is -2 at least; a
normal law has 0. Few prefixes whose law is nearly one point have a kurtosis in the thousands; the
largest gap between the distribution function of the projection and the normal one is 1 at most.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.errors import BadNumbers

KEPT = 0.95
"""Of the trace of S, in the directions that are kept."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Of some laws, each over its own points."""

    mean: Float[Tensor, "*batch dim"]
    values: Float[Tensor, "*batch direction"]
    vectors: Float[Tensor, "*batch direction dim"]
    """Unit rows; where there are fewer points than directions, some are zero."""
    projection: Float[Tensor, "*batch point"]
    """On the first direction, from the mean, in its standard deviations."""
    kurtosis: Float[Tensor, "*batch"]
    """Excess kurtosis of the projection."""
    gap: Float[Tensor, "*batch"]
    """The largest difference of its distribution function from the normal one."""

    @classmethod
    def of(
        cls, points: Float[Tensor, "*batch point dim"], weights: Float[Tensor, "*batch point"]
    ) -> "Spectrum":
        """By the smaller of the two matrices of products."""
        points, weights = points.double(), weights.double()
        if not points.isfinite().all():
            raise BadNumbers("states after next tokens must be finite: use --dtype float32")
        mean = (weights[..., None] * points).sum(-2)
        away = points - mean[..., None, :]
        values, vectors = _principal(weights.sqrt()[..., None] * away)
        along = (away @ vectors[..., :1, :].mT)[..., 0]
        square = (weights * along.square()).sum(-1)
        fourth = (weights * along.pow(4)).sum(-1)
        scale = square.clamp(min=torch.finfo(square.dtype).tiny)
        projection = along / scale.sqrt()[..., None]
        kurtosis = fourth / scale / scale - 3
        return cls(mean, values, vectors, projection, kurtosis, _gap(projection, weights))

    @property
    def variance(self) -> Float[Tensor, "*batch"]:
        r""":math:`\mathrm{tr}\,S` per dimension."""
        return self.values.sum(-1) / self.mean.shape[-1]

    @property
    def participation(self) -> Float[Tensor, "*batch"]:
        r""":math:`(\mathrm{tr}\,S)^2/\mathrm{tr}\,S^2`: how many equal directions it would be."""
        return self.values.sum(-1).square() / self.values.square().sum(-1)

    def share(self, first: int) -> Float[Tensor, "*batch"]:
        """Of the trace in so many first directions."""
        return self.values[..., :first].sum(-1) / self.values.sum(-1)

    @property
    def kept(self) -> Bool[Tensor, "*batch direction"]:
        """The fewest first directions that hold `KEPT` of the trace."""
        before = self.values.cumsum(-1) - self.values
        found: Tensor = before < KEPT * self.values.sum(-1, keepdim=True)
        return found

    @property
    def rank(self) -> Int[Tensor, "*batch"]:
        """How many are kept."""
        return self.kept.sum(-1)


def _gap(
    projection: Float[Tensor, "*batch point"], weights: Float[Tensor, "*batch point"]
) -> Float[Tensor, "*batch"]:
    """Kolmogorov's distance, before and after each step of the distribution function."""
    ordered, order = projection.sort(-1)
    own = weights.gather(-1, order)
    above, normal = own.cumsum(-1), torch.special.ndtr(ordered)
    found: Tensor = torch.maximum((above - normal).abs(), (normal - above + own).abs()).amax(-1)
    return found


def _principal(
    rows: Float[Tensor, "*batch point dim"],
) -> tuple[Float[Tensor, "*batch direction"], Float[Tensor, "*batch direction dim"]]:
    """Eigenvalues of rows' rows, largest first, and unit eigenvectors as rows."""
    points, dim = rows.shape[-2:]
    if points >= dim:
        values, vectors = torch.linalg.eigh(rows.mT @ rows)
        return values.flip(-1).clamp(min=0), vectors.mT.flip(-2)
    values, vectors = torch.linalg.eigh(rows @ rows.mT)
    values, turned = values.flip(-1).clamp(min=0), vectors.mT.flip(-2) @ rows
    length = turned.norm(dim=-1, keepdim=True)
    # a direction without variance is rounding
    real = length > 1e-9 * length[..., :1, :]
    return values, (turned / length.clamp(min=torch.finfo(rows.dtype).tiny)).where(real, 0.0)
