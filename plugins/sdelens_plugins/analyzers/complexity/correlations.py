"""Rank correlations over documents of the fit's error with measures of the text."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch

from sdelens.errors import UsageError
from sdelens.evidence.effects import POWER
from sdelens.evidence.rank_correlation import Correlation, chance, holm, rank_correlation
from sdelens.seeds import derive
from sdelens_plugins.analyzers.complexity.document_table import (
    ERRORS,
    MIN_DOCUMENTS,
    OUTCOMES,
    DocumentTable,
    measure_label,
)

LEVEL = 0.05
"""The family-wise error rate of all correlations together."""


@dataclass(frozen=True)
class MeasureCorrelation:
    """One correlation, plain or with the length held fixed, and its corrected p-value."""

    outcome: str
    measure: str
    length_held: bool
    rho: Correlation
    p: float

    @property
    def name(self) -> str:
        """The outcome and the measure."""
        held = ", length held" if self.length_held else ""
        return f"{OUTCOMES[self.outcome]} with {measure_label(self.measure)}{held}"


@dataclass(frozen=True, eq=False)
class Correlations:
    """The correlations of all pairs of an outcome and a measure."""

    table: DocumentTable
    all: tuple[MeasureCorrelation, ...]

    @classmethod
    def of(cls, table: DocumentTable, *, seed: int) -> "Correlations":
        """Correlates all pairs; raises `UsageError` for fewer than `MIN_DOCUMENTS` documents."""
        if table.documents < MIN_DOCUMENTS:
            raise UsageError(
                f"correlations over documents need {MIN_DOCUMENTS} test documents of a few words, "
                f"but there are {table.documents}: fit to more or longer texts"
            )
        unit = torch.arange(len(table.length))
        keys, rho, p = [], [], []
        for outcome, measure in table.pairs:
            for length_held in (False, True):
                x, y = getattr(table, outcome), table.measures[measure]
                held = table.length if length_held else None
                pair_seed = derive(seed, outcome, measure, length_held)
                keys.append((outcome, measure, length_held))
                rho.append(rank_correlation(x, y, unit, held=held, seed=pair_seed))
                p.append(chance(x, y, held=held, seed=pair_seed))
        rows = zip(keys, rho, holm(p), strict=True)
        return cls(table, tuple(MeasureCorrelation(*key, r, p) for key, r, p in rows))

    @property
    def errors(self) -> list[MeasureCorrelation]:
        """The correlations of the fit's error."""
        return [each for each in self.all if each.outcome in ERRORS]

    @property
    def level(self) -> float:
        """The level of each interval at which all hold together (Bonferroni)."""
        return 1 - LEVEL / len(self.all)

    @property
    def detectable(self) -> float:
        """The true correlation that is significant with probability `POWER` (Fisher transform)."""
        normal = NormalDist()
        size = normal.inv_cdf((1 + self.level) / 2) + normal.inv_cdf(POWER)
        return math.tanh(size / math.sqrt(self.table.documents - 3))
