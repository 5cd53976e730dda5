r"""A Gaussian with the mean and deviations of a law, and one correlation for all states.

Laws with diagonal noise ignore the correlation of coordinates, while a mixture of them has some:
a gain of the mixture over one Gaussian need not mean that the law is not normal. With residuals r
and the deviations s(x, t) of a law, the correlation is :math:`(1-a)\,E\,uu^\top+aI`, where
:math:`u=r/s` over its root mean square on training, so that the diagonal is 1 and the variances of
the law do not change; a is the share that predicts the validation documents best.
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
class WithConstantCorrelation(Law):
    """The mean and deviations of a law, with one correlation for all states."""

    law: Law
    root: Float[Tensor, "dim dim"]
    """The lower factor of the correlation."""

    @classmethod
    @torch.no_grad()
    def of(cls, law: Law, train: Paths, validation: Paths) -> "WithConstantCorrelation":
        """The correlation of training residuals, shrunk by the share that suits validation."""
        train_moment, held_moment = (
            residual_moment(law, paths, own=True)[0] for paths in (train, validation)
        )
        tiny = torch.finfo(train_moment.dtype).tiny
        scale = train_moment.diagonal().clamp(min=tiny).rsqrt()
        correlation, held_out = (scale[:, None] * m * scale for m in (train_moment, held_moment))
        values, vectors = torch.linalg.eigh(correlation)
        variances = (vectors * (held_out @ vectors)).sum(0)
        shares = torch.tensor(SHARES, dtype=torch.float64)[:, None]
        mixed = (1 - shares) * values.clamp(min=0) + shares
        best = mixed[int((mixed.log() + variances / mixed).sum(-1).argmin())]
        return cls(law, cholesky((vectors * best) @ vectors.mT).float())

    def predict(self, past: Trajectories) -> Gaussian:
        predicted = self.law.predict(past)
        std = predicted.covariance().variance().sqrt().expand(predicted.mean.shape)
        return Gaussian(predicted.mean, ScaledCorrelation(std, FullScale(self.root)))

    def tensors(self) -> dict[str, Tensor]:
        return prefixed(law=self.law.tensors()) | {"root": self.root}
