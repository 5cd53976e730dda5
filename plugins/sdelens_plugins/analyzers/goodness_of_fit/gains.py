"""By how much the fit beats what it must beat, over all documents and along the text."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.interval import Interval
from sdelens.evidence.scorecard import Scorecard, scorecard
from sdelens.evidence.verdict import LABELS, MUST_BEAT
from sdelens.fitting.baselines import NAMES
from sdelens.fitting.fitted import Record
from sdelens.fitting.study import Viewed
from sdelens.laws.law import prefixed
from sdelens.report import Estimate, Figure, Panel
from sdelens_plugins.analyzers.common.intervals import (
    bars,
    estimate,
    line_with_band,
    percent,
    with_interval,
)
from sdelens_plugins.analyzers.common.refitted_baselines import RefittedBaselines, position_bins
from sdelens_plugins.analyzers.common.units import NATS

MEAN = "mean of the fit"
"""The name of its law under constant noise."""
ALONG = ("iid_position", "linear")
RELATIVE = {"crps": "CRPS", "energy": "energy score"}


@dataclass(frozen=True, eq=False)
class Gains:
    """Scores of the fit's mean and of the baselines' on the same steps, under constant noise."""

    record: Record
    names: tuple[str, ...]
    """The baselines, without the probe's own family."""
    card: Scorecard
    bootstrap: Bootstrap
    positions: Float[Tensor, " bin"]

    @classmethod
    def of(
        cls, viewed: Viewed, groups: Int[Tensor, " document"], *, draws: int, bins: int, seed: int
    ) -> "Gains":
        """Refit the baselines in closed form, and score everything on the test documents."""
        fitted = viewed.fitted
        rivals = RefittedBaselines.of(viewed)
        edges, positions = position_bins(rivals.moments, bins)
        laws = {"fit": fitted.law, MEAN: rivals.mean, **rivals.laws}
        card = scorecard(laws, fitted.encoded(viewed.test), groups, edges, draws=draws, seed=seed)
        bootstrap = Bootstrap.of(card.count.sum(-1), seed=seed)
        names = tuple(n for n in NAMES if n in rivals.laws and n != fitted.record.probe)
        return cls(fitted.record, names, card, bootstrap, positions)

    @property
    def nats(self) -> Interval:
        """Gain over each baseline."""
        leads = [self.card.lead("nats", MEAN, name).sum(-1) for name in self.names]
        return self.bootstrap.ratio(torch.stack(leads), self.card.count.sum(-1))

    @property
    def dependent(self) -> Interval | None:
        """Gain over each baseline, all with state-dependent noise, as scored after the fit."""
        key = "gain_of_fit_state_dependent"
        rows = [self.record.scores.get("baselines", {}).get(name, {}) for name in self.names]
        if not all(key in row for row in rows):
            return None
        value, stderr = (
            torch.tensor([row[f"{key}{end}"] for row in rows]) for end in ("", "_stderr")
        )
        return Interval.student(value, stderr, int(self.record.scores["held_out_documents"]))

    def relative(self, score: str) -> Interval:
        """The share by which the fit's score is lower than each baseline's."""
        leads = [self.card.lead(score, MEAN, name).sum(-1) for name in self.names]
        own = [self.card.of(score, name).sum(-1) for name in self.names]
        return self.bootstrap.ratio(torch.stack(leads), torch.stack(own))

    @property
    def shown(self) -> tuple[str, ...]:
        """The baselines over which the gain is shown by position."""
        return tuple(name for name in ALONG if name in self.names)

    def along(self, name: str) -> Interval:
        """Gain over one baseline by bin of positions."""
        lead = self.card.lead("nats", MEAN, name)
        return self.bootstrap.ratio(lead.mT, self.card.count.mT)

    def score(self, score: str) -> Interval:
        """Of the fit with its own noise, per transition."""
        total = self.card.count.sum(-1)
        return self.bootstrap.ratio(self.card.of(score, "fit").sum(-1), total)

    def headline(self) -> str:
        nats = self.nats
        rivals = [name for name in self.names if name in MUST_BEAT]
        best = min(rivals, key=lambda name: float(nats.value[self.names.index(name)]))
        steps = int(self.card.count.sum())
        return (
            f"On {self.bootstrap.documents:,} held-out documents ({steps:,} transitions) the "
            f"mean of the {self.record.probe} fit gains "
            f"{with_interval(nats[self.names.index(best)])} {NATS} over the best simpler one, "
            f"{LABELS[best]}, both with constant noise."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        documents = Estimate(
            "held-out documents",
            float(self.bootstrap.documents),
            unit=f"(the effective sample size; {int(self.card.count.sum()):,} transitions)",
        )
        found = [documents, *self._each("gain over {}, constant noise", self.nats, NATS)]
        if self.dependent:
            name = "gain over {}, state-dependent noise"
            found += self._each(name, self.dependent, NATS)
        found.append(estimate("CRPS of the fit", self.score("crps"), "per latent coordinate"))
        found.append(estimate("energy score of the fit", self.score("energy"), "latent units"))
        for score, word in RELATIVE.items():
            name = f"{word} lower than that of {{}}"
            found += self._each(name, self.relative(score), f"of its {word}", self.shown)
        for name in self.shown:
            along, label = self.along(name), LABELS[name]
            found.append(estimate(f"gain over {label}, first positions", along[0], NATS))
            found.append(estimate(f"gain over {label}, last positions", along[-1], NATS))
        return tuple(found)

    def _each(
        self, name: str, intervals: Interval, unit: str, only: tuple[str, ...] = NAMES
    ) -> list[Estimate]:
        return [
            estimate(name.format(LABELS[each]), intervals[row], unit)
            for row, each in enumerate(self.names)
            if each in only
        ]

    def arrays(self) -> dict[str, Tensor]:
        groups = {"gain.nats": self.nats, **{f"lower.{s}": self.relative(s) for s in RELATIVE}}
        groups |= {f"along.{name}": self.along(name) for name in self.shown}
        if self.dependent:
            groups["gain.nats_state_dependent"] = self.dependent
        named = prefixed(**{name: interval.tensors() for name, interval in groups.items()})
        return named | {"along.position": self.positions, "along.count": self.card.count.sum(0)}

    def figures(self) -> tuple[Figure, ...]:
        return self._gains(), self._scores(), self._along()

    @property
    def _words(self) -> list[str]:
        return [LABELS[name] for name in self.names]

    def _gains(self) -> Figure:
        gains = {"Constant noise": self.nats, "State-dependent noise": self.dependent}
        panels = tuple(
            Panel("", f"gain, {NATS}", (bars(found, self._words),), title)
            for title, found in gains.items()
            if found
        )
        return Figure(
            "gains",
            panels,
            "Gain of the fit over every baseline with the same kind of noise, with 95% intervals "
            f"over {self.bootstrap.documents:,} held-out documents; above zero the fit is better.",
        )

    def _scores(self) -> Figure:
        panels = tuple(
            Panel("", "lower by, percent", (bars(percent(self.relative(score)), self._words),), t)
            for score, t in (("crps", "CRPS"), ("energy", "Energy score"))
        )
        return Figure(
            "scores",
            panels,
            "By how much the fit's mean lowers two proper scores of every baseline, both with "
            "constant noise: of each coordinate by itself, and of the whole state.",
        )

    def _along(self) -> Figure:
        layers = [
            layer
            for series, name in enumerate(self.shown)
            for layer in line_with_band(
                self.positions, self.along(name), f"over {LABELS[name]}", series
            )
        ]
        return Figure(
            "positions",
            (Panel("position", f"gain, {NATS}", tuple(layers)),),
            "Gain of the fit's mean by position in the text, constant noise, with 95% intervals "
            "over documents.",
        )
