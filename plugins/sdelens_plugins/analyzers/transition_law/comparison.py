"""A fit and the baselines compared with the model's own law of the next state, at one layer."""

from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from sdelens.branching.next_state_law import FIT, NextStateLaw
from sdelens.branching.noise_directions import NoiseDirections
from sdelens.evidence.interval import Interval
from sdelens.evidence.verdict import LABELS
from sdelens.fitting.metrics import CONSTANT
from sdelens.states.recording import View

MAX_RANK = 8
"""The dimension of a leading subspace, at most a quarter of the dimensions."""
TRUTHS = {"total": "S* + (m* - m)²", "sampler": "S*"}
"""What the fit's noise is compared with: the total noise of a Markov fit, and the model's own."""
OWN_MEAN = "its mean, constant noise"
NAMES = LABELS | {CONSTANT: OWN_MEAN}


@dataclass(frozen=True, eq=False)
class LawComparison:
    """Leading noise directions and cross-entropies at one layer."""

    view: View
    law: NextStateLaw
    count: Float[Tensor, " unit"]
    """Prefixes by unit of documents."""

    @property
    def documents(self) -> int:
        """The number of held-out documents."""
        return int((self.count > 0).sum())

    @property
    def directions(self) -> NoiseDirections:
        """Outer products of the model's noise and the fit's."""
        assert self.law.directions is not None  # requested
        return self.law.directions

    @property
    def rank(self) -> int:
        """The number of leading directions that are compared."""
        return max(1, min(MAX_RANK, len(self.directions.root) // 4))

    @property
    def chance(self) -> float:
        """The expected overlap of two unrelated subspaces."""
        return self.rank / len(self.directions.root)

    @cached_property
    def overlaps(self) -> dict[str, Interval]:
        """The overlap of the fit's leading directions with those of both truths."""
        return {kind: self.directions.overlap("fitted", kind, self.rank) for kind in TRUTHS}

    def angles(self, kind: str) -> Float[Tensor, " rank"]:
        """Principal angles between the fit's leading directions and a truth's, in degrees."""
        return self.directions.angles("fitted", kind, self.rank)

    @cached_property
    def excess(self) -> Interval | None:
        """The cross-entropy of each baseline minus the fit's; None without baselines."""
        nats = self.law.nats
        if nats is None or len(nats.laws) < 2:
            return None
        return Interval.ratio(nats.branched[1:] - nats.branched[0], self.count)

    @property
    def baselines(self) -> list[str]:
        """The names of the baselines, in the order of `excess`."""
        assert self.law.nats is not None
        return [NAMES.get(name, name) for name in self.law.nats.laws if name != FIT]

    def best_baseline(self, excess: Interval) -> tuple[str, Interval]:
        """The baseline with the smallest excess that does not use the fit's own mean."""
        others = [k for k, name in enumerate(self.baselines) if name != OWN_MEAN]
        best = min(others, key=lambda k: float(excess.value[k]))
        return self.baselines[best], excess[best]
