r"""Cross-entropy of fitted laws relative to the model's own next-state law.

The next state takes one value per token, so its divergence from a density is infinite. The
cross-entropy :math:`-E\log p(X')`, with X' sampled by the model after the prefix, is finite, and
its difference between two laws equals the difference of their divergences. Branches estimate it
without bias.
"""

from collections.abc import Mapping

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.evidence.bootstrap import by_unit
from sdelens.laws.law import Law
from sdelens.paths.standard_metric import per_dimension
from sdelens.paths.trajectories import Trajectories

MOST = 72
"""Largest number of branches for which the cross-entropy is computed."""


class CrossEntropy:
    r"""Sums over prefixes for each unit of documents, per dimension.

    The coordinates of the laws are multiplied by `lengths`. `branched` is the cross-entropy in
    nats; `squares` sums |X' - m|², whose differences between laws are those of
    :math:`E|m^*-m|^2`; `occurred` and `occurred_squares` use the observed next state.
    """

    def __init__(
        self, laws: Mapping[str, Law], units: int, lengths: Float[Tensor, " latent"]
    ) -> None:
        self.laws, self.lengths = laws, lengths
        self.sums = torch.zeros(4, len(laws), units, dtype=torch.float64)

    @property
    def branched(self) -> Float[Tensor, "law unit"]:
        """Cross-entropies."""
        return self.sums[0]

    @property
    def squares(self) -> Float[Tensor, "law unit"]:
        """Squared distances of branched states from the predicted mean."""
        return self.sums[1]

    @property
    def occurred(self) -> Float[Tensor, "law unit"]:
        """Negative log densities of the observed next states."""
        return self.sums[2]

    @property
    def occurred_squares(self) -> Float[Tensor, "law unit"]:
        """Squared distances of the observed next states from the predicted mean."""
        return self.sums[3]

    def read(self, block: Trajectories, branches: int) -> None:
        """Start a batch of texts."""
        self.block = block
        wide = (branches, *block.states.shape)
        self.following = torch.zeros(wide, dtype=block.states.dtype)
        self.weights = torch.zeros(wide[:-1], dtype=torch.float64)

    def hold(
        self,
        row: Int[Tensor, " prefix"],
        time: Int[Tensor, " prefix"],
        following: Float[Tensor, "prefix branch latent"],
        weights: Float[Tensor, "prefix branch"],
    ) -> None:
        """Keep the states after the next tokens of some prefixes."""
        count = following.shape[1]
        states = rearrange(following, "prefix branch latent -> branch prefix latent")
        self.following[:count, row, time] = states.to(self.following)
        self.weights[:count, row, time] = weights.mT.double()

    def add(self, unit: Int[Tensor, " path"]) -> None:
        """Add the sums of the current batch to their units."""
        wanted: Bool[Tensor, "path time"] = self.weights.sum(0) > 0
        row = wanted.nonzero()[:, 0]
        for number, law in enumerate(self.laws.values()):
            values = torch.stack([part[wanted] for part in self._of(law)])
            self.sums[:, number] += by_unit(values, unit[row], self.sums.shape[-1])
        del self.block, self.following, self.weights

    def _of(self, law: Law) -> tuple[Tensor, ...]:
        """Branched loss and squares, observed loss and squares of every prefix."""
        predicted, dim = law.predict(self.block), self.block.states.shape[-1]
        volume = self.lengths.log().mean()

        def losses(y: Tensor) -> tuple[Tensor, Tensor]:
            nats = volume - predicted.log_density(y).double() / dim
            return nats, per_dimension((y - predicted.mean).square(), self.lengths.square())

        nats, squares = torch.zeros(2, *self.block.mask.shape, dtype=torch.float64)
        for weight, y in zip(self.weights, self.following, strict=True):
            each = losses(y)
            nats += (weight * each[0]).where(weight > 0, 0.0)
            squares += (weight * each[1]).where(weight > 0, 0.0)
        return nats, squares, *losses(self.block.states.roll(-1, 1))
