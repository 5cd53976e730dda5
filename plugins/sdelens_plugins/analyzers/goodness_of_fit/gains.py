"""Gains of the fit over the baselines, over all documents and by position."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.evidence.interval import Interval
from sdelens.evidence.scorecard import Scorecard, scorecard
from sdelens.evidence.verdict import Gain
from sdelens.fitting.baselines import NAMES
from sdelens.fitting.fitted import Record
from sdelens.fitting.scores import SAME
from sdelens.fitting.study import Viewed
from sdelens_plugins.analyzers.common.refitted_baselines import RefittedBaselines, position_bins

MEAN = "mean of the fit"
"""The name of the fit's mean with constant noise."""
POSITIONAL = ("iid_position", "linear")
"""The baselines over which gains are reported by position."""


def same_mean(card: Scorecard, name: str) -> bool:
    """Whether a baseline scores like the fit's mean everywhere, up to rounding errors."""
    return bool((card.lead("nats", MEAN, name).abs() <= SAME * card.count).all())


@dataclass(frozen=True, eq=False)
class Gains:
    """Scores of the fit's mean and of the baselines on the same steps, with constant noise."""

    record: Record
    names: tuple[str, ...]
    """The baselines whose mean is another one than the fit's."""
    card: Scorecard
    positions: Float[Tensor, " bin"]

    @classmethod
    def of(
        cls, viewed: Viewed, groups: Int[Tensor, " document"], *, draws: int, bins: int, seed: int
    ) -> "Gains":
        """Refits the baselines in closed form and scores all laws on the test documents."""
        fitted = viewed.fitted
        baselines = RefittedBaselines.of(viewed)
        edges, positions = position_bins(baselines.moments, bins)
        laws = {"fit": fitted.law, MEAN: baselines.mean, **baselines.laws}
        card = scorecard(laws, fitted.encoded(viewed.test), groups, edges, draws=draws, seed=seed)
        names = tuple(n for n in NAMES if n in baselines.laws and not same_mean(card, n))
        return cls(fitted.record, names, card, positions)

    @property
    def documents(self) -> int:
        """The number of held-out documents."""
        return int((self.card.count.sum(-1) > 0).sum())

    @property
    def nats(self) -> Interval:
        """The gain over each baseline, in nats per dimension."""
        leads = [self.card.lead("nats", MEAN, name).sum(-1) for name in self.names]
        return Interval.ratio(torch.stack(leads), self.card.count.sum(-1))

    @property
    def state_dependent(self) -> Interval | None:
        """The gain over each baseline with state-dependent noise, from the record of the fit.

        None where the record lacks it.
        """
        key = "gain_of_fit_state_dependent"
        rows = [self.record.scores.get("baselines", {}).get(name, {}) for name in self.names]
        if not all(key in row for row in rows):
            return None
        held = int(self.record.scores["held_out_documents"])
        gains = [Gain.of(row, key, held) for row in rows]
        ends = [
            (g.value, row[f"{key}_stderr"], g.low, g.high)
            for g, row in zip(gains, rows, strict=True)
        ]
        return Interval(*torch.tensor(ends).mT).over(held)

    def relative(self, score: str) -> Interval:
        """The share by which the fit's score is lower than each baseline's."""
        leads = [self.card.lead(score, MEAN, name).sum(-1) for name in self.names]
        own = [self.card.of(score, name).sum(-1) for name in self.names]
        return Interval.ratio(torch.stack(leads), torch.stack(own))

    @property
    def positional(self) -> tuple[str, ...]:
        """The baselines of `POSITIONAL` that are there."""
        return tuple(name for name in POSITIONAL if name in self.names)

    def by_position(self, name: str) -> Interval:
        """The gain over one baseline by bin of positions."""
        lead = self.card.lead("nats", MEAN, name)
        return Interval.ratio(lead.mT, self.card.count.mT)

    def score(self, score: str) -> Interval:
        """The mean score of the fit with its own noise, per transition."""
        total = self.card.count.sum(-1)
        return Interval.ratio(self.card.of(score, "fit").sum(-1), total)
