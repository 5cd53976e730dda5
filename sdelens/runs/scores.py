"""The held-out scores of a study, for notebooks and data frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain
from typing import TYPE_CHECKING, Any

from sdelens.evidence.verdict import LABELS
from sdelens.fitting.fitted import Fitted
from sdelens.report import Table
from sdelens.runs.score_table import score_table
from sdelens.states.recording import View

if TYPE_CHECKING:
    from pandas import DataFrame

ENDS = ("low", "high")
RIGHT = '<td style="text-align: right">{}</td>'


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of every fit and of its baselines on held-out documents."""

    fits: Mapping[View, Fitted]

    def to_pandas(self) -> "DataFrame":
        """A data frame with a row for each fit and baseline.

        The columns are `layer` and `mean`, and then the keys of ``metrics.json``: scores in nats
        per dimension and gains of the fit with their standard errors. An interval has two
        columns, ``…_low`` and ``…_high``.
        """
        from pandas import DataFrame

        rows = (_rows(view, fitted.record.scores) for view, fitted in self.fits.items())
        return DataFrame(list(chain.from_iterable(rows)))

    @property
    def tables(self) -> tuple[Table, ...]:
        """The score table of each layer, as in a report."""
        return self._tables()

    def _tables(self, *, short: bool = False) -> tuple[Table, ...]:
        return tuple(
            score_table(fitted.record.scores, view, fitted.record.probe, short=short)
            for view, fitted in self.fits.items()
        )

    def __repr__(self) -> str:
        return "\n\n".join(map(as_text, self._tables(short=True)))

    def _repr_html_(self) -> str:
        return "".join(map(as_html, self.tables))


def _rows(view: View, scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each baseline and one for the fit."""
    found = scores["baselines"]
    means = {label: found[name] for name, label in LABELS.items() if name in found}
    return [
        {"layer": view.label, "mean": name} | dict(chain.from_iterable(map(_cells, row.items())))
        for name, row in (means | {"fit": scores["fit"]}).items()
    ]


def _cells(entry: tuple[str, Any]) -> tuple[tuple[str, Any], ...]:
    """A number, or the two ends of an interval.

    >>> _cells(("gain", 0.2)), _cells(("gain_interval", [0.1, 0.3]))
    ((('gain', 0.2),), (('gain_interval_low', 0.1), ('gain_interval_high', 0.3)))
    """
    key, value = entry
    if not isinstance(value, Sequence):
        return ((key, value),)
    return tuple((f"{key}_{end}", number) for end, number in zip(ENDS, value, strict=True))


def as_text(table: Table) -> str:
    r"""A table with aligned columns, whose headings may have two lines.

    >>> rows = (("linear", "0.1"), ("iid", "0.25"))
    >>> print(as_text(Table("Gains", ("mean", "gain,\nnats"), rows)))
    Gains
           gain,
    mean    nats
    linear   0.1
    iid     0.25
    """
    split = [("\n" + name).split("\n")[-2:] for name in table.columns]
    rows = (*zip(*split, strict=True), *table.rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        " ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
    return "\n".join((table.title, *lines))


def as_html(table: Table) -> str:
    """A table with its note; the row of the fit is bold."""
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    body = "".join(_html_row(row, bold=k == table.own) for k, row in enumerate(table.rows))
    caption = f"<caption>{escape(table.title)}</caption>"
    return f"<table>{caption}<tr>{head}</tr>{body}</table><p>{escape(table.note)}</p>"


def _html_row(row: tuple[str, ...], *, bold: bool) -> str:
    first, *rest = map(escape, row)
    weight = ' style="font-weight: bold"' if bold else ""
    cells = "".join(map(RIGHT.format, rest))
    return f'<tr{weight}><th style="text-align: left">{first}</th>{cells}</tr>'
