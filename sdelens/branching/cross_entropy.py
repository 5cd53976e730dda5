r"""The cross-entropy of the model's own law of the next state under fitted laws.

The next state has as many atoms as there are tokens, so that its divergence from a density is
infinite. :math:`-E\log p(X')`, X' drawn by the model after the prefix, is finite, and a difference
of it between two laws is that of their divergences. Branches give it without bias.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.evidence.bootstrap import by_unit
from sdelens.laws.law import Law
from sdelens.paths.standard_metric import per_dimension
from sdelens.paths.trajectories import Trajectories

MOST = 72
"""With more branches than this they are not held, and there is no cross-entropy."""


class CrossEntropy:
    r"""Sums over prefixes by unit of documents, per dimension.

    In coordinates in which those of the laws are `lengths` long. Beside `branched`, in nats,
    `squares` is the mean of |X' - m|², whose differences between laws are those of
    :math:`E|m^*-m|^2`; `occurred` and `occurred_squares` are those of the state that occurred.
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
        """Squared errors of the mean, and the noise."""
        return self.sums[1]

    @property
    def occurred(self) -> Float[Tensor, "law unit"]:
        """Minus log densities of the states that occurred."""
        return self.sums[2]

    @property
    def occurred_squares(self) -> Float[Tensor, "law unit"]:
        """Their squared distances from the mean."""
        return self.sums[3]

    def read(self, block: Trajectories, branches: int) -> None:
        """Some texts, before their branches are held."""
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
        """The states after the next tokens of some prefixes."""
        count = following.shape[1]
        self.following[:count, row, time] = following.transpose(0, 1).to(self.following)
        self.weights[:count, row, time] = weights.T.double()

    def add(self, unit: Int[Tensor, " path"]) -> None:
        """What was held, each path to its unit."""
        asked: Bool[Tensor, "path time"] = self.weights.sum(0) > 0
        row = asked.nonzero()[:, 0]
        for number, law in enumerate(self.laws.values()):
            values = torch.stack([part[asked] for part in self._of(law)])
            self.sums[:, number] += by_unit(values, unit[row], self.sums.shape[-1])
        del self.block, self.following, self.weights

    def _of(self, law: Law) -> tuple[Tensor, ...]:
        """The four numbers of every prefix."""
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
