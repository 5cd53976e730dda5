r"""Unbiased moments of the next state from branches.

For a prefix with the state x, the branches give :math:`\hat m`, an estimate of :math:`m^*=E X'`.
If R branches sample the part of the law that has probability r, then
:math:`E|\hat m-m^*|^2 = r^2\,\mathrm{tr}\,C/R`, where C is the covariance within that part,
estimated with the divisor R - 1. Hence the unbiased estimates

.. math::
    |m^*-x|^2 = |\hat m-x|^2 - \mathrm{error},\qquad
    \mathrm{tr}\,S^* = \sum_k w_k|y_k-\hat m|^2 + \mathrm{error}.

For plain sampling with B branches, the first is the mean of
:math:`\langle y_b-x,\,y_{b'}-x\rangle` over distinct branches and the second the variance with
the divisor B - 1.
"""

from dataclasses import dataclass

from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.branching.token_choice import WeightedTokens
from sdelens.paths.standard_metric import per_dimension


@dataclass(frozen=True, eq=False)
class NextStateMoments:
    """Mean and deviations of the next states after some prefixes, in latent coordinates."""

    mean: Float[Tensor, "*batch latent"]
    r""":math:`\hat m`."""
    deviation: Float[Tensor, "*batch branch latent"]
    r""":math:`y_k-\hat m`."""
    chosen: WeightedTokens

    @classmethod
    def of(
        cls, following: Float[Tensor, "*batch branch latent"], chosen: WeightedTokens
    ) -> "NextStateMoments":
        """Moments from the states after each of the chosen tokens."""
        weights = chosen.weights.to(following)
        mean = (weights[..., None] * following).sum(-2)
        return cls(mean, following - mean[..., None, :], chosen)

    def __getitem__(self, rows: Int[Tensor, " chosen"]) -> "NextStateMoments":
        return NextStateMoments(self.mean[rows], self.deviation[rows], self.chosen[rows,])

    @property
    def shares(self) -> Float[Tensor, "*batch branch"]:
        """The weight of each branch's squared deviation."""
        return self.chosen.weights.double()

    def error(self, weights: Float[Tensor, " latent"]) -> Float[Tensor, "*batch"]:
        r""":math:`E|\hat m-m^*|^2` per dimension, in the metric of `weights`."""
        drawn = self._drawn()
        count = max(1, drawn.shape[-2])
        rest = self.shares[..., : self.chosen.drawn].sum(-1)
        squares = per_dimension(drawn.square(), weights).sum(-1)
        return rest.square() * squares / (count * max(1, count - 1))

    def noise(self, weights: Float[Tensor, " latent"]) -> Float[Tensor, "*batch"]:
        r""":math:`\mathrm{tr}\,S^*` per dimension."""
        squares = per_dimension(self.deviation.square(), weights)
        return (self.shares * squares).sum(-1) + self.error(weights)

    def covariance(self) -> Float[Tensor, "latent latent"]:
        r"""The sum of :math:`S^*` over all prefixes."""
        rest = self.shares[..., : self.chosen.drawn].sum(-1)
        drawn = self._drawn()
        count = max(1, drawn.shape[-2])
        share = (rest.square() / (count * max(1, count - 1)))[..., None].expand(drawn.shape[:-1])
        found: Tensor = scatter(self.deviation, self.shares) + scatter(drawn, share)
        return found

    def _drawn(self) -> Float[Tensor, "*batch draw latent"]:
        """Sampled branches, centred."""
        drawn = self.deviation[..., : self.chosen.drawn, :]
        return drawn - drawn.mean(-2, keepdim=True) if self.chosen.drawn else drawn


def scatter(
    rows: Float[Tensor, "*batch branch latent"], share: Float[Tensor, "*batch branch"]
) -> Float[Tensor, "latent latent"]:
    """The weighted sum of outer products of the rows."""
    flat = rearrange(rows, "... latent -> (...) latent").double()
    return (rearrange(share, "... branch -> (... branch) 1") * flat).mT @ flat
