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
from sdelens.paths.trajectories import Trajectories

MOST = 64
"""With more branches than this they are not held, and there is no cross-entropy."""


class CrossEntropy:
    """Sums over prefixes by unit of documents, in nats per dimension.

    In coordinates in which those of the laws are `lengths` long.
    """

    def __init__(
        self, laws: Mapping[str, Law], units: int, lengths: Float[Tensor, " latent"]
    ) -> None:
        self.laws, self.volume = laws, float(lengths.log().mean())
        self.branched = torch.zeros(len(laws), units, dtype=torch.float64)
        self.realised = torch.zeros(len(laws), units, dtype=torch.float64)

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
        onward = self.block.states.roll(-1, 1)
        row = asked.nonzero()[:, 0]
        for number, law in enumerate(self.laws.values()):
            predicted = law.predict(self.block)
            pairs = zip(self.weights, self.following, strict=True)
            nats = sum(
                -(w * predicted.log_density(y).double()).where(w > 0, 0.0) for w, y in pairs
            )
            occurred = -predicted.log_density(onward).double()
            values = torch.stack([torch.as_tensor(nats)[asked], occurred[asked]])
            each = values / self.block.states.shape[-1] + self.volume
            sums = by_unit(each, unit[row], len(self.branched[0]))
            self.branched[number] += sums[0]
            self.realised[number] += sums[1]
        del self.block, self.following, self.weights
