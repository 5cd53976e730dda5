"""The analyzers that a study can run, with their questions and costs."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from html import escape
from typing import TYPE_CHECKING, Any

from sdelens import protocols
from sdelens.errors import SdelensError
from sdelens.fitting.study import Study
from sdelens.interfaces import load
from sdelens.protocols import USES_MODEL, CostedAnalyzer
from sdelens.registry import plugins
from sdelens.report_protocols import QuestionAnalyzer
from sdelens.runs.needs import LACKS
from sdelens.summary import in_order

if TYPE_CHECKING:
    from pandas import DataFrame

WIDTH = 80
NAME_WIDTH, COST_WIDTH = 17, 11
LEFT = '<td style="text-align: left">{}</td>'
OTHER = "Other questions"
KNOWN_BEFORE = ("sde", "ensemble")
"""Needs that are checked without the model and the prompt of a call."""
CALLS = 'study.analyze.NAME(), or study.analyze("NAME"), runs one; study.analyze_all() runs all.'
WHERE = "Costs are those on the embedded model and grow with the size of the model."
COSTS = (
    "Costs were measured on the embedded model, with 512 texts of 200 tokens, one layer and one "
    "core: seconds are below 20, a minute is below 90. They grow with the number of texts and "
    "coordinates and, for analyzers marked *, which run the model, with its size."
)


@dataclass(frozen=True)
class ListedAnalyzer:
    """An analyzer: its question, what it does, its cost, and what it lacks in a study."""

    name: str
    question: str
    about: str
    cost: str
    """One of `sdelens.protocols.COSTS`, or ``unknown``."""
    uses_model: bool
    lacks: str = ""
    """Why it cannot run on the study, or what a call must give; empty if it can run."""

    @classmethod
    def of(cls, name: str, study: Study) -> "ListedAnalyzer":
        """The analyzer of that name; one that does not load is listed with the reason."""
        try:
            kind = load("analyzer", name)
        except SdelensError as error:
            return cls(name, "", "", "unknown", uses_model=False, lacks=str(error))
        return cls(
            name=name,
            question=kind.answers if isinstance(kind, QuestionAnalyzer) else "",
            about=(kind.__doc__ or "").partition("\n")[0],
            cost=kind.cost if isinstance(kind, CostedAnalyzer) else "unknown",
            uses_model=bool((kind.needs | kind.wants) & USES_MODEL),
            lacks=_lacks(kind, study),
        )

    @property
    def description(self) -> str:
        """What it does, and what it lacks."""
        return " ".join(filter(None, (self.about, f"[{self.lacks}]" if self.lacks else "")))

    @property
    def cost_words(self) -> str:
        """The cost, with a star if the model is run."""
        return f"{self.cost}{'*' if self.uses_model else ''}"


def _lacks(kind: Any, study: Study) -> str:
    for need in KNOWN_BEFORE:
        if need in kind.needs and (lack := LACKS[need](study)):
            return lack
    return "needs prompt=" if "prompt" in kind.needs and not study.prompt else ""


@dataclass(frozen=True)
class AnalyzerList:
    """The available analyzers of a study, by question; notebooks display it as a table."""

    title: str
    analyzers: tuple[ListedAnalyzer, ...]

    @classmethod
    def of(cls, study: Study) -> "AnalyzerList":
        """All installed and registered analyzers; imports them, and runs none."""
        rows = [ListedAnalyzer.of(name, study) for name in plugins("analyzer")]
        return cls(f"Analyzers of {study.name}", tuple(rows))

    @property
    def sections(self) -> dict[str, list[ListedAnalyzer]]:
        """The analyzers by question, in the order of a report."""
        return {
            question or OTHER: [row for row in self.analyzers if row.question == question]
            for question in in_order(row.question for row in self.analyzers)
        }

    def to_pandas(self) -> "DataFrame":
        """A data frame with a row for each analyzer."""
        from pandas import DataFrame

        columns = [field.name for field in fields(ListedAnalyzer)]
        return DataFrame([asdict(row) for row in self.analyzers], columns=columns)

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield self.title
        for question, rows in self.sections.items():
            yield f"\n{question}"
            for row in rows:
                start = f"  {row.name:<{NAME_WIDTH}}{row.cost_words:<{COST_WIDTH}}"
                hanging = " " * (2 + NAME_WIDTH + COST_WIDTH)
                yield textwrap.fill(start + row.description, WIDTH, subsequent_indent=hanging)
        yield ""
        for sentence in (CALLS, COSTS):
            yield textwrap.fill(sentence, WIDTH)

    def _repr_html_(self) -> str:
        body = "".join(
            f'<tr><th colspan="3" style="text-align: left">{escape(question)}</th></tr>'
            + "".join(map(_html_row, rows))
            for question, rows in self.sections.items()
        )
        notes = "".join(f"<p>{escape(sentence)}</p>" for sentence in (CALLS, COSTS))
        return f"<table><caption>{escape(self.title)}</caption>{body}</table>{notes}"


def _html_row(row: ListedAnalyzer) -> str:
    cells = (f"<code>{escape(row.name)}</code>", escape(row.cost_words), escape(row.description))
    return f"<tr>{''.join(map(LEFT.format, cells))}</tr>"


@dataclass(frozen=True)
class PlannedAnalyses:
    """What is about to be run, and its costs."""

    total: int
    """The number of analyses: one for each view, or one for all."""
    costs: dict[str, list[str]]
    """The analyzers by cost, the largest first."""

    @classmethod
    def of(cls, names: Sequence[str], *, views: int) -> "PlannedAnalyses":
        """The named analyzers, or all; those that do not load are left out."""
        total, costs = 0, {cost: list[str]() for cost in reversed(protocols.COSTS)}
        for name in names or plugins("analyzer"):
            try:
                kind = load("analyzer", name)
            except SdelensError:
                continue
            total += views if kind.scope == "view" else 1
            cost = kind.cost if isinstance(kind, CostedAnalyzer) else "unknown"
            costs.setdefault(cost, []).append(name)
        return cls(total, {cost: own for cost, own in costs.items() if own})

    def __str__(self) -> str:
        """The costs in one sentence."""
        parts = [f"{cost}: {', '.join(names)}" for cost, names in self.costs.items()]
        return f"{self.total} to run. {'; '.join(parts)}. {WHERE}"
