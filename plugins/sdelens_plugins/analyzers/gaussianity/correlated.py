r"""A Gaussian with the means and deviations of a law, and one correlation for all states.

Laws with diagonal noise leave the correlation of coordinates out, of which a mixture of several
such has some: what a mixture gains over one Gaussian need not be owed to a law that is not
normal. Of residuals r in the deviations s(x, t) of a law, this has the correlation
:math:`(1-a)\,E\,uu^\top+aI`, where :math:`u=r/s` over its root mean square on training, so that
the diagonal is 1 and the law's own variances stay; a is the share that predicts validation best.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.fitting.baselines import residual_moment
from sdelens.laws.law import Gaussian, Law, prefixed
from sdelens.laws.matrices import cholesky
from sdelens.laws.scale import FullScale, ScaledCorrelation
from sdelens.paths.trajectories import Paths, Trajectories

SHARES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True, eq=False)
class Correlated(Law):
    """The mean of a law, under its deviations times a constant scale."""

    law: Law
    root: Float[Tensor, "dim dim"]
    """The lower factor of the correlation."""

    @classmethod
    @torch.no_grad()
    def of(cls, law: Law, train: Paths, validation: Paths) -> "Correlated":
        """By training paths; validation chooses how much."""
        own, held = (residual_moment(law, paths, own=True)[0] for paths in (train, validation))
        scale = own.diagonal().clamp(min=torch.finfo(own.dtype).tiny).rsqrt()
        own, held = (scale[:, None] * each * scale for each in (own, held))
        values, vectors = torch.linalg.eigh(own)
        there = (vectors * (held @ vectors)).sum(0)
        shares = torch.tensor(SHARES, dtype=torch.float64)[:, None]
        mixed = (1 - shares) * values.clamp(min=0) + shares
        best = mixed[int((mixed.log() + there / mixed).sum(-1).argmin())]
        return cls(law, cholesky((vectors * best) @ vectors.mT).float())

    def predict(self, past: Trajectories) -> Gaussian:
        found = self.law.predict(past)
        std = found.covariance().variance().sqrt().expand(found.mean.shape)
        return Gaussian(found.mean, ScaledCorrelation(std, FullScale(self.root)))

    def tensors(self) -> dict[str, Tensor]:
        return prefixed(law=self.law.tensors()) | {"root": self.root}
