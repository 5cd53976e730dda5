"""A fit, and what it must beat, held against the model's own law of the next state."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.branching.cross_entropy import CrossEntropy
from sdelens.branching.next_state_law import FIT, NextStateLaw
from sdelens.branching.noise_directions import NoiseDirections
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.interval import Interval
from sdelens.evidence.verdict import LABELS
from sdelens.fitting.metrics import CONSTANT
from sdelens.report import Estimate, Figure, Layer, Panel, counted
from sdelens.states.recording import View
from sdelens_plugins.analyzers.common.intervals import bars, estimate, with_interval
from sdelens_plugins.analyzers.common.units import NATS

LEADING = 8
"""Directions of a leading subspace; fewer where there are not four times as many."""
TRUTHS = {"total": "S* + (m* - m)²", "sampler": "S*"}
NAMES = LABELS | {CONSTANT: "its mean, constant noise"}


@dataclass(frozen=True, eq=False)
class LawComparison:
    """Of one layer."""

    view: View
    law: NextStateLaw
    count: Float[Tensor, " unit"]
    bootstrap: Bootstrap

    @property
    def spread(self) -> NoiseDirections:
        """Outer products of the model's noise and the fit's."""
        assert self.law.directions is not None  # asked for
        return self.law.directions

    @cached_property
    def overlaps(self) -> dict[str, Interval]:
        """Of the fit's leading directions with those of both truths."""
        return {kind: self.spread.overlap("fitted", kind, self.rank) for kind in TRUTHS}

    @property
    def rank(self) -> int:
        """How many directions are compared."""
        return max(1, min(LEADING, len(self.spread.root) // 4))

    @property
    def chance(self) -> float:
        """The overlap of two subspaces that have nothing to do with each other."""
        return self.rank / len(self.spread.root)

    @cached_property
    def excess(self) -> Interval | None:
        """By how much more each rival's cross-entropy is than the fit's."""
        nats = self.law.nats
        if nats is None or len(nats.laws) < 2:
            return None
        return self.bootstrap.ratio(nats.branched[1:] - nats.branched[0], self.count)

    @property
    def rivals(self) -> list[str]:
        """Their names, as `excess` has them."""
        assert self.law.nats is not None
        return [NAMES.get(name, name) for name in self.law.nats.laws if name != FIT]

    def headline(self) -> str:
        """What the best rival loses, and how far the leading directions agree."""
        shared = with_interval(self.overlaps["total"], 2)
        said = (
            f"At {self.view} the leading {self.rank} directions of the fit's noise share {shared} "
            f"of those of S* + (m* - m)² ({self.chance:.2f} by chance, 1: the same)"
        )
        if self.excess is None:
            return f"{said}."
        return f"{said}. {self._best(self.excess)}"

    def _best(self, excess: Interval) -> str:
        """Of the rivals that are not the fit's own mean, by cross-entropy."""
        own = NAMES[CONSTANT]
        others = [k for k, name in enumerate(self.rivals) if name != own]
        best = min(others, key=lambda k: float(excess.value[k]))
        gap, name = excess[best], self.rivals[best]
        if float(gap.high) < 0:
            return (
                f"Under the model's own law {name} is better than the fit, by "
                f"{with_interval(-gap)} {NATS}."
            )
        if float(gap.low) > 0:
            return (
                f"Under the model's own law every simpler one loses to the fit, {name} the "
                f"least, by {with_interval(gap)} {NATS}."
            )
        return (
            f"Under the model's own law the fit is not shown to be better than {name} (by "
            f"{with_interval(gap)} {NATS})."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        """Overlaps of leading subspaces, then cross-entropies."""
        found = []
        for kind, truth in TRUTHS.items():
            angles = self.spread.angles("fitted", kind, self.rank)
            unit = (
                f"(1: the same, by chance {self.chance:.2f}; principal "
                f"angles {float(angles.min()):.0f}° to {float(angles.max()):.0f}°)"
            )
            name = f"{self.view}: overlap of the leading {self.rank} directions with {truth}"
            found.append(estimate(name, self.overlaps[kind], unit))
        halves = self.spread.halves("total", self.rank)
        name = f"{self.view}: the same between halves of the documents, S* + (m* - m)²"
        found.append(Estimate(name, halves, unit="(how well they are known)"))
        return (*found, *(self._entropies(self.law.nats) if self.law.nats else ()))

    def _entropies(self, nats: CrossEntropy) -> list[Estimate]:
        own = self.bootstrap.ratio(nats.branched[0], self.count)
        occurred = self.bootstrap.ratio(nats.occurred[0] - nats.branched[0], self.count)
        found = [
            estimate(f"{self.view}: cross-entropy of the model's law under the fit", own, NATS),
            estimate(
                f"{self.view}: minus log density of what occurred, less that",
                occurred,
                f"{NATS} (0 if the texts are the model's own)",
            ),
        ]
        for number, name in enumerate(self.rivals if self.excess else ()):
            assert self.excess is not None
            what = f"{self.view}: cross-entropy under {name}, less the fit's"
            found.append(estimate(what, self.excess[number], NATS))
        return found

    def arrays(self) -> dict[str, Tensor]:
        """Matrices, principal angles in degrees, and cross-entropies by unit of documents."""
        named = {
            f"{self.view}.angles.{kind}": self.spread.angles("fitted", kind, self.rank)
            for kind in TRUTHS
        }
        if self.law.nats is not None:
            named[f"{self.view}.cross_entropy"] = self.law.nats.branched
            named[f"{self.view}.occurred"] = self.law.nats.occurred
        return named

    def figure(self) -> Figure:
        """What rivals lose, and the principal angles."""
        rank = torch.arange(1, self.rank + 1).double()
        lines = tuple(
            Layer(
                "line",
                {"x": rank, "y": self.spread.angles("fitted", kind, self.rank).double()},
                f"with {truth}",
                series,
                dashed=series > 0,
            )
            for series, (kind, truth) in enumerate(TRUTHS.items())
        )
        angles = Panel(
            "principal angles, the smallest first", "degrees", lines, "Leading directions"
        )
        caption = (
            f"The fit at {self.view} against the model's own law. Principal angles between the "
            f"leading {self.rank} directions of the fit's noise and those of the truth: 0° where "
            "a direction is shared. Diagonal noise has no directions but the coordinates' own."
        )
        if self.excess is None:
            return Figure("fit", (angles,), caption)
        loss = Panel("", f"more {NATS} than the fit", (bars(self.excess, self.rivals),))
        return Figure(
            "fit",
            (loss, angles),
            f"{caption} Cross-entropies of the model's law, as far as they are above the fit's: "
            "what laws of equal noise structure lose, with 95% intervals over "
            f"{counted(self.bootstrap.documents, 'held-out document')}.",
        )
