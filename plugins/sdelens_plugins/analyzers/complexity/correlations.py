"""What the fit does on documents, correlated with what is known of their texts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.evidence.effects import POWER
from sdelens.evidence.rank_correlation import Correlation, chance, holm, rank_correlation
from sdelens.report import Estimate, Figure, Layer, Panel, counted
from sdelens.seeds import derive
from sdelens_plugins.analyzers.complexity.document_table import (
    ERRORS,
    FEWEST,
    GROWTH,
    MEASURES,
    OUTCOMES,
    DocumentTable,
)

LEVEL = 0.05
"""How often, over all correlations together, chance alone may show one."""
RATED = (
    ("nats", "annotated complexity", "The error's correlation with annotated complexity"),
    ("growth", "annotated coherence", "That of the growth of deviations with annotated coherence"),
)
"""What is asked first of texts that people have rated: whether the error grows with complexity,
and whether stability goes with coherence, so that deviations grow less."""


@dataclass(frozen=True)
class MeasureCorrelation:
    """One correlation, plain or with the length held, and its corrected p-value."""

    outcome: str
    measure: str
    held: bool
    rho: Correlation
    chance: float

    @property
    def name(self) -> str:
        """What is correlated with what."""
        held = ", length held" if self.held else ""
        return f"{OUTCOMES[self.outcome]} with {worded(self.measure)}{held}"


@dataclass(frozen=True, eq=False)
class Correlations:
    """All correlations."""

    table: DocumentTable
    all: tuple[MeasureCorrelation, ...]

    @classmethod
    def of(cls, table: DocumentTable, *, seed: int) -> "Correlations":
        if table.documents < FEWEST:
            raise UsageError(
                f"correlations over documents need {FEWEST} test documents of a few words, but "
                f"there are {table.documents}: fit to more or longer texts"
            )
        own = torch.arange(len(table.length))
        asked, rho, chances = [], [], []
        for outcome, measure in table.pairs:
            for held in (False, True):
                x, y = getattr(table, outcome), table.measures[measure]
                fixed = table.length if held else None
                key = derive(seed, outcome, measure, held)
                asked.append((outcome, measure, held))
                rho.append(rank_correlation(x, y, own, held=fixed, seed=key))
                chances.append(chance(x, y, held=fixed, seed=key))
        answers = zip(asked, rho, holm(chances), strict=True)
        return cls(table, tuple(MeasureCorrelation(*which, r, p) for which, r, p in answers))

    @property
    def level(self) -> float:
        """Of each interval, so that all hold together (Bonferroni)."""
        return 1 - LEVEL / len(self.all)

    @property
    def detectable(self) -> float:
        """The least correlation that is shown with a chance of `POWER`, by Fisher's transform."""
        normal = NormalDist()
        size = normal.inv_cdf((1 + self.level) / 2) + normal.inv_cdf(POWER)
        return math.tanh(size / math.sqrt(self.table.documents - 3))

    def headline(self) -> str:
        """How many errors grow and fall, and what ratings say."""
        n, m = counted(self.table.documents, "test document"), len(self.errors)
        shown = [each for each in self.errors if each.chance <= LEVEL]
        grows = [each for each in shown if each.rho.value > 0]
        if not shown:
            said = (
                f"Over {n}, none of {m} rank correlations between the fit's error and the "
                f"text's complexity is shown (Holm, {LEVEL:.0%}); a true one of "
                f"{self.detectable:.2f} would be, four times out of five."
            )
        else:
            best = max(grows or shown, key=lambda each: abs(each.rho.value))
            said = (
                f"Over {n}, {len(grows)} of {m} rank correlations show an error that grows with "
                f"the text's complexity and {len(shown) - len(grows)} one that falls (Holm, "
                f"{LEVEL:.0%}). The strongest that {'grows' if grows else 'falls'} is "
                f"{best.name}: {self._bracketed(best)}."
            )
        return " ".join([said, *self._rated()])

    @property
    def errors(self) -> list[MeasureCorrelation]:
        """Those of the fit's error."""
        return [each for each in self.all if each.outcome in ERRORS]

    def _rated(self) -> list[str]:
        """Of ratings, where there are any."""
        found = {(each.outcome, each.measure, each.held): each for each in self.all}
        return [
            f"{words} is {self._bracketed(plain)}, with the length held "
            f"{self._bracketed(found[outcome, measure, True])}."
            for outcome, measure, words in RATED
            if (plain := found.get((outcome, measure, False)))
        ]

    def _bracketed(self, each: MeasureCorrelation) -> str:
        low, high = each.rho.interval(self.level)
        return f"{each.rho.value:.2f} [{low:.2f}, {high:.2f}]"

    def estimates(self) -> tuple[Estimate, ...]:
        rows = [
            Estimate(each.name, each.rho.value, _finite(each.rho.stderr), self._unit(each))
            for each in self.all
        ]
        least = Estimate(
            "least correlation that would be shown",
            self.detectable,
            None,
            f"with a chance of {POWER:.0%}, over {self.table.documents} documents",
        )
        return (*rows, least)

    def _unit(self, each: MeasureCorrelation) -> str:
        low, high = each.rho.interval(self.level)
        return f"simultaneous [{low:.2f}, {high:.2f}], Holm's p = {each.chance:.2g}"

    def arrays(self) -> dict[str, Tensor]:
        ends = [each.rho.interval(self.level) for each in self.all]
        columns = {
            "correlation": [each.rho.value for each in self.all],
            "correlation.low": [low for low, _ in ends],
            "correlation.high": [high for _, high in ends],
            "correlation.chance": [each.chance for each in self.all],
            "correlation.length_held": [float(each.held) for each in self.all],
        }
        return {name: torch.tensor(c, dtype=torch.float64) for name, c in columns.items()}

    def figures(self) -> tuple[Figure, ...]:
        grown = [self._bars("stability", GROWTH)] if len(self.errors) < len(self.all) else []
        return (self._bars("correlations", ERRORS), *grown, self._points())

    def _bars(self, name: str, outcomes: Mapping[str, str]) -> Figure:
        of = " and ".join(outcomes.values())
        return Figure(
            name,
            tuple(self._panel(outcome, title) for outcome, title in outcomes.items()),
            f"Rank correlations over {counted(self.table.documents, 'test document')} of {of} "
            "with what is known of the text, with simultaneous 95% intervals.",
        )

    def _panel(self, outcome: str, name: str) -> Panel:
        plain, held = (
            [each for each in self.all if each.outcome == outcome and each.held == fixed]
            for fixed in (False, True)
        )
        x = torch.arange(len(plain)).double()
        ends = torch.tensor([each.rho.interval(self.level) for each in plain])
        values, partial = (torch.tensor([e.rho.value for e in side]) for side in (plain, held))
        bars = {"x": x, "y": values, "low": ends[:, 0].float(), "high": ends[:, 1].float()}
        words = tuple(worded(each.measure) for each in plain)
        layers = (
            Layer("bars", bars, "rank correlation", words=words),
            Layer("scatter", {"x": x, "y": partial}, "with the length held", series=1),
        )
        return Panel("", "rank correlation", layers, name[0].upper() + name[1:], share="rho")

    def _points(self) -> Figure:
        rated = "annotated complexity"
        third = rated if rated in self.table.measures else "diversity"
        panels = tuple(
            Panel(worded(name), ERRORS["nats"], (Layer("scatter", self._pair(name)),))
            for name in ("sentence_length", third, "surprisal")
        )
        return Figure(
            "documents",
            panels,
            "Each point is a test document: the fit's error over three measures of its text.",
        )

    def _pair(self, name: str) -> dict[str, Tensor]:
        return {"x": self.table.measures[name], "y": self.table.nats}


def worded(measure: str) -> str:
    """A measure or an annotation in words."""
    return MEASURES.get(measure, measure)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
