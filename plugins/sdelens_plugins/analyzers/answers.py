"""Every error of the fit correlated with every measure of the text, with and without length."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.evidence.effects import POWER
from sdelens.language.rank_correlation import Correlation, chance, holm, rank_correlation
from sdelens.report import Estimate, Figure, Layer, Panel, counted
from sdelens.seeds import derive
from sdelens_plugins.analyzers.measured import ERRORS, MEASURES, Table

LEVEL = 0.05
"""How often, over all correlations together, chance alone may show one."""
FEWEST = 8
"""Documents without which a rank correlation says nothing."""


@dataclass(frozen=True)
class Answer:
    """One correlation, plain or with the length held, and its corrected p-value."""

    error: str
    measure: str
    held: bool
    rho: Correlation
    chance: float

    @property
    def name(self) -> str:
        """What is correlated with what."""
        held = ", length held" if self.held else ""
        return f"{ERRORS[self.error]} with {MEASURES[self.measure]}{held}"


@dataclass(frozen=True, eq=False)
class Answers:
    """All correlations."""

    table: Table
    all: tuple[Answer, ...]

    @classmethod
    def of(cls, table: Table, *, seed: int) -> "Answers":
        if table.documents < FEWEST:
            raise UsageError(
                f"correlations over documents need {FEWEST} test documents of a few words, but "
                f"there are {table.documents}: fit to more or longer texts"
            )
        own = torch.arange(len(table.length))
        asked, rho, chances = [], [], []
        for error in ERRORS:
            for measure in MEASURES:
                for held in (False, True):
                    x, y = getattr(table, error), getattr(table, measure)
                    fixed = table.length if held else None
                    key = derive(seed, error, measure, held)
                    asked.append((error, measure, held))
                    rho.append(rank_correlation(x, y, own, held=fixed, seed=key))
                    chances.append(chance(x, y, held=fixed, seed=key))
        answers = zip(asked, rho, holm(chances), strict=True)
        return cls(table, tuple(Answer(*which, r, p) for which, r, p in answers))

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
        n, m = counted(self.table.documents, "test document"), len(self.all)
        shown = [each for each in self.all if each.chance <= LEVEL]
        grows = [each for each in shown if each.rho.value > 0]
        if not shown:
            return (
                f"Over {n}, none of {m} rank correlations between the fit's error and the "
                f"text's complexity is shown (Holm, {LEVEL:.0%}); a true one of "
                f"{self.detectable:.2f} would be, four times out of five."
            )
        best = max(grows or shown, key=lambda each: abs(each.rho.value))
        low, high = best.rho.interval(self.level)
        return (
            f"Over {n}, {len(grows)} of {m} rank correlations show an error that grows with the "
            f"text's complexity and {len(shown) - len(grows)} one that falls (Holm, {LEVEL:.0%}). "
            f"The strongest that {'grows' if grows else 'falls'} is {best.name}: "
            f"{best.rho.value:.2f} [{low:.2f}, {high:.2f}]."
        )

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

    def _unit(self, each: Answer) -> str:
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
        return self._bars(), self._points()

    def _bars(self) -> Figure:
        panels = []
        for error, label in ERRORS.items():
            plain, held = (
                [each for each in self.all if each.error == error and each.held == fixed]
                for fixed in (False, True)
            )
            x = torch.arange(len(plain)).double()
            ends = torch.tensor([each.rho.interval(self.level) for each in plain])
            values, partial = (torch.tensor([e.rho.value for e in side]) for side in (plain, held))
            bars = {"x": x, "y": values, "low": ends[:, 0].float(), "high": ends[:, 1].float()}
            words = tuple(MEASURES[each.measure] for each in plain)
            layers = (
                Layer("bars", bars, "rank correlation", words=words),
                Layer("scatter", {"x": x, "y": partial}, "with the length held", series=1),
            )
            panels.append(Panel("", "rank correlation", layers, label[0].upper() + label[1:]))
        return Figure(
            "correlations",
            tuple(panels),
            f"Rank correlations over {counted(self.table.documents, 'test document')} between the "
            "fit's error and measures of the text, with simultaneous 95% intervals.",
        )

    def _points(self) -> Figure:
        panels = tuple(
            Panel(MEASURES[name], ERRORS["nats"], (Layer("scatter", self._pair(name)),))
            for name in ("sentence_length", "diversity", "surprisal")
        )
        return Figure(
            "documents",
            panels,
            "Each point is a test document: the fit's error over three measures of its text.",
        )

    def _pair(self, name: str) -> dict[str, Tensor]:
        return {"x": getattr(self.table, name), "y": self.table.nats}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
