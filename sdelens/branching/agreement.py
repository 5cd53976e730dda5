r"""Whether texts are drawn from the law that is branched.

Under the law p that drew them, the surprisal :math:`-\log p(v)` of each token less the entropy of
its law has the mean zero given what came before, whatever the text: summed over documents it
deviates by its standard error. Another temperature shifts it, and a narrower nucleus or a banned
end of text rules tokens out that occur.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.branching.branched import Branched
from sdelens.branching.prefixes import Prefixes
from sdelens.errors import UsageError
from sdelens.evidence.bootstrap import by_unit
from sdelens.states.sampling import Sampler

LIMIT = 5.0
"""Standard errors that would not come of chance in a million runs."""
RULED_OUT = 1e-3
"""A token at the edge of a nucleus may fall out of it by rounding, but not so many."""


@dataclass(frozen=True)
class Agreement:
    """Surprisal less entropy per token, over documents."""

    excess: float
    """In nats."""
    stderr: float
    ruled_out: float
    """The share of tokens that the law gives no probability."""

    @classmethod
    def of(cls, sums: Float[Tensor, "3 unit"]) -> "Agreement":
        """From sums over documents."""
        excess, count, out = sums[:, sums[1:].sum(0) > 0]
        mean = float(excess.sum() / count.sum())
        ruled_out = float(out.sum() / (count + out).sum())
        return cls(mean, _stderr(excess, count, mean), ruled_out)

    @property
    def holds(self) -> bool:
        """Whether the texts can have been drawn so."""
        off = abs(self.excess) > LIMIT * self.stderr
        return self.ruled_out <= RULED_OUT and not (off and math.isfinite(self.stderr))

    def __str__(self) -> str:
        return (
            f"surprisal less entropy {self.excess:+.3f} ± {self.stderr:.3f} nats per token, "
            f"{self.ruled_out:.2%} of the tokens ruled out"
        )

    def require(self, sampler: Sampler) -> None:
        """An error where texts that are said to be drawn so cannot be."""
        if not self.holds:
            raise UsageError(
                f"texts drawn by {sampler} have a surprisal less entropy of 0 and no token that "
                f"is ruled out, but these have {self}: the run's model or its sampling settings "
                "are not those of its texts; fit again"
            )


def agreeing(text: Branched, prefixes: Prefixes) -> Float[Tensor, "3 unit"]:
    """Of the tokens after some prefixes: excess, how many count, how many are ruled out."""
    inside = text.inside
    unit = prefixes.unit[text.row][:, None].expand(inside.shape)[inside]
    surprisal, entropy = text.law.surprisal[inside], text.law.entropy[inside]
    out = surprisal.isinf()
    excess = (surprisal - entropy).masked_fill(out, 0.0)
    return by_unit(torch.stack([excess, (~out).double(), out.double()]), unit, prefixes.units)


def _stderr(above: Float[Tensor, " unit"], below: Float[Tensor, " unit"], ratio: float) -> float:
    """Of a ratio of sums, by linearisation."""
    if len(above) < 2:
        return math.nan
    spread = (above - ratio * below).square().sum() * len(above) / (len(above) - 1)
    return float(spread.sqrt() / below.sum())
