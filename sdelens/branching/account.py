"""What is kept of every text whose next tokens were tried, whatever else is asked of them."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.branching.agreement import Agreement, agreeing, at_the_edge
from sdelens.branching.branched import Branched, Branching
from sdelens.branching.prefixes import Prefixes


@dataclass(eq=False)
class Account:
    """Sums over the texts so far."""

    prefixes: Prefixes
    sums: Float[Tensor, "3 unit"] = field(init=False)
    fed: int = 0
    """Next tokens that were fed."""
    cached: bool = True
    """Whether prefixes shared what is cached of their text."""

    def __post_init__(self) -> None:
        self.sums = torch.zeros(3, self.prefixes.units, dtype=torch.float64)

    def add(self, text: Branched) -> None:
        """One more."""
        self.sums += agreeing(text, self.prefixes)
        self.fed += text.fed
        self.cached = self.cached and text.cached

    def agreement(self, branching: Branching, dtype: str) -> Agreement:
        """Of all texts with the sampler, in a model of this type."""
        return Agreement.of(self.sums, at_the_edge(branching.sampler, dtype))
