r"""Checks that texts were sampled from the next-token law used for branching.

If tokens are sampled from the law p, the surprisal :math:`-\log p(v)` minus the entropy of p has
conditional mean zero, so its sum over documents is zero within its standard error. A different
temperature shifts it; a narrower nucleus or a banned end-of-text token gives observed tokens
probability zero. A single document has no standard error and allows only the second check.
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
"""Probability of the two-sided limit: five standard errors for many documents, the quantile of
Student's t at the same probability for few."""
RULED_OUT, COARSE = 1e-3, 0.02
"""Largest share of tokens with probability zero. Rounding moves tokens across the edge of a
nucleus; more so in 16 bits, where a full pass and single steps give different logits."""
HALF = ("bfloat16", "float16")


@dataclass(frozen=True)
class SamplerCheck:
    """Mean surprisal minus entropy per token, over documents."""

    excess: float
    """Surprisal minus entropy, in nats."""
    stderr: float
    ruled_out: float
    """Share of tokens with probability zero."""
    units: int
    """Number of documents."""
    allowed: float = RULED_OUT
    """Share of tokens that rounding may rule out."""

    @classmethod
    def of(cls, sums: Float[Tensor, "3 unit"], allowed: float = RULED_OUT) -> "SamplerCheck":
        """The check from sums over documents."""
        excess, count, out = sums[:, sums[1:].sum(0) > 0]
        mean = float(excess.sum() / count.sum())
        ruled_out = float(out.sum() / (count + out).sum())
        return cls(mean, _stderr(excess, count, mean), ruled_out, len(count), allowed)

    @property
    def checked(self) -> bool:
        """Whether the excess has a standard error."""
        return math.isfinite(self.stderr)

    @property
    def holds(self) -> bool:
        """Whether the texts are consistent with the sampler."""
        off = self.checked and abs(self.excess) > student(CHANCE, self.units) * self.stderr
        return self.ruled_out <= self.allowed and not off

    def __str__(self) -> str:
        return (
            f"surprisal minus entropy {self.excess:+.3f} ± {self.stderr:.3f} nats per token, "
            f"{self.ruled_out:.2%} of the tokens with probability zero"
        )

    def require(self, sampler: Sampler) -> None:
        """Raise `UsageError` unless the texts are consistent with `sampler`."""
        if not self.holds:
            raise UsageError(
                f"texts sampled with {sampler} have surprisal minus entropy 0 and no token of "
                f"probability zero, but these have {self}: the model or the sampling settings of "
                "the run are not those of its texts; fit again"
            )


def at_the_edge(sampler: Sampler, dtype: str) -> float:
    """Share of tokens that rounding may move across the edge of a nucleus."""
    return COARSE if sampler.truncates and dtype in HALF else RULED_OUT


def agreeing(text: BranchedStates, prefixes: Prefixes) -> Float[Tensor, "3 unit"]:
    """Sums of excess, counted tokens and tokens of probability zero, for each unit."""
    inside = text.inside
    unit = prefixes.unit[text.row][:, None].expand(inside.shape)[inside]
    return excesses(text.law.surprisal[inside], text.law.entropy[inside], unit, prefixes.units)


def excesses(
    surprisal: Float[Tensor, " token"],
    entropy: Float[Tensor, " token"],
    unit: Int[Tensor, " token"],
    units: int,
) -> Float[Tensor, "3 unit"]:
    """Sums of excess, counted tokens and tokens of probability zero, for each unit."""
    out = surprisal.isinf()
    excess = (surprisal - entropy).masked_fill(out, 0.0)
    return by_unit(torch.stack([excess, (~out).double(), out.double()]), unit, units)


def _stderr(above: Float[Tensor, " unit"], below: Float[Tensor, " unit"], ratio: float) -> float:
    """Standard error of a ratio of sums, by linearisation."""
    if len(above) < 2:
        return math.nan
    spread = (above - ratio * below).square().sum() * len(above) / (len(above) - 1)
    return float(spread.sqrt() / below.sum())


@dataclass(eq=False)
class SurprisalCheck:
    """Running sums of surprisal minus entropy over texts."""

    prefixes: Prefixes
    sums: Float[Tensor, "3 unit"] = field(init=False)
    fed: int = 0
    """Number of next tokens evaluated."""
    cached: bool = True
    """Whether the prefixes of a text shared a key-value cache."""

    def __post_init__(self) -> None:
        self.sums = torch.zeros(3, self.prefixes.units, dtype=torch.float64)

    def add(self, text: BranchedStates) -> None:
        """Add a batch of texts."""
        self.sums += agreeing(text, self.prefixes)
        self.fed += text.fed
        self.cached = self.cached and text.cached

    def result(self, branching: BranchSampler, dtype: str) -> SamplerCheck:
        """The check of all texts, for a model of this dtype."""
        return SamplerCheck.of(self.sums, at_the_edge(branching.sampler, dtype))
