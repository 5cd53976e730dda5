r"""Whether texts are drawn from the law that is branched.

Under the law p that drew them, the surprisal :math:`-\log p(v)` of each token less the entropy of
its law has the mean zero given what came before, whatever the text: summed over documents it
deviates by its standard error. Another temperature shifts it, and a narrower nucleus or a banned
end of text rules tokens out that occur. One document has no standard error, and tells the latter
alone.
"""

import math
from dataclasses import dataclass, field
from statistics import NormalDist

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.branching.branch_sampler import BranchedStates, BranchSampler
from sdelens.branching.prefixes import Prefixes
from sdelens.errors import UsageError
from sdelens.evidence.bootstrap import by_unit
from sdelens.evidence.student import student
from sdelens.states.sampling import Sampler

CHANCE = NormalDist().cdf(5.0)
"""Of many documents five standard errors, which would not come of chance in a million runs; of
few, Student's quantile at the same probability."""
RULED_OUT, COARSE = 1e-3, 0.02
"""A token at the edge of a nucleus may fall out of it by rounding, but not so many; of 16 bits
(where logits of a whole pass are not those of the steps that drew the text) not above the latter.
"""
HALF = ("bfloat16", "float16")


@dataclass(frozen=True)
class SamplerCheck:
    """Surprisal less entropy per token, over documents."""

    excess: float
    """In nats."""
    stderr: float
    ruled_out: float
    """The share of tokens that the law gives no probability."""
    units: int
    """How many documents tell it."""
    allowed: float = RULED_OUT
    """The share that may be ruled out by rounding."""

    @classmethod
    def of(cls, sums: Float[Tensor, "3 unit"], allowed: float = RULED_OUT) -> "SamplerCheck":
        """From sums over documents."""
        excess, count, out = sums[:, sums[1:].sum(0) > 0]
        mean = float(excess.sum() / count.sum())
        ruled_out = float(out.sum() / (count + out).sum())
        return cls(mean, _stderr(excess, count, mean), ruled_out, len(count), allowed)

    @property
    def checked(self) -> bool:
        """Whether the excess has a standard error to be held against."""
        return math.isfinite(self.stderr)

    @property
    def holds(self) -> bool:
        """Whether the texts can have been drawn so."""
        off = self.checked and abs(self.excess) > student(CHANCE, self.units) * self.stderr
        return self.ruled_out <= self.allowed and not off

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


def at_the_edge(sampler: Sampler, dtype: str) -> float:
    """The share of tokens that rounding may rule out: without a nucleus there is no edge."""
    return COARSE if sampler.top_p < 1 and dtype in HALF else RULED_OUT


def agreeing(text: BranchedStates, prefixes: Prefixes) -> Float[Tensor, "3 unit"]:
    """Of the tokens after some prefixes: excess, how many count, how many are ruled out."""
    inside = text.inside
    unit = prefixes.unit[text.row][:, None].expand(inside.shape)[inside]
    return excesses(text.law.surprisal[inside], text.law.entropy[inside], unit, prefixes.units)


def excesses(
    surprisal: Float[Tensor, " token"],
    entropy: Float[Tensor, " token"],
    unit: Int[Tensor, " token"],
    units: int,
) -> Float[Tensor, "3 unit"]:
    """Sums over tokens: excess, how many count, how many are ruled out."""
    out = surprisal.isinf()
    excess = (surprisal - entropy).masked_fill(out, 0.0)
    return by_unit(torch.stack([excess, (~out).double(), out.double()]), unit, units)


def _stderr(above: Float[Tensor, " unit"], below: Float[Tensor, " unit"], ratio: float) -> float:
    """Of a ratio of sums, by linearisation."""
    if len(above) < 2:
        return math.nan
    spread = (above - ratio * below).square().sum() * len(above) / (len(above) - 1)
    return float(spread.sqrt() / below.sum())


@dataclass(eq=False)
class SurprisalCheck:
    """Sums over the texts so far."""

    prefixes: Prefixes
    sums: Float[Tensor, "3 unit"] = field(init=False)
    fed: int = 0
    """Next tokens that were fed."""
    cached: bool = True
    """Whether prefixes shared what is cached of their text."""

    def __post_init__(self) -> None:
        self.sums = torch.zeros(3, self.prefixes.units, dtype=torch.float64)

    def add(self, text: BranchedStates) -> None:
        """One more."""
        self.sums += agreeing(text, self.prefixes)
        self.fed += text.fed
        self.cached = self.cached and text.cached

    def agreement(self, branching: BranchSampler, dtype: str) -> SamplerCheck:
        """Of all texts with the sampler, in a model of this type."""
        return SamplerCheck.of(self.sums, at_the_edge(branching.sampler, dtype))
