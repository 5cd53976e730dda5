"""Figures of the correlations with text complexity: bars by measure, and scatter plots."""

from collections.abc import Mapping

import torch

from sdelens.report import Figure, Layer, Panel
from sdelens.wording import counted
from sdelens_plugins.analyzers.complexity.correlations import Correlations
from sdelens_plugins.analyzers.complexity.document_table import ERRORS, GROWTH, measure_label


def figures(correlations: Correlations) -> tuple[Figure, ...]:
    """Correlations of the error, of growth if it was measured, and the documents as points."""
    growth = len(correlations.errors) < len(correlations.all)
    stability = [_bars(correlations, "stability", GROWTH)] if growth else []
    return (_bars(correlations, "correlations", ERRORS), *stability, _points(correlations))


def _bars(correlations: Correlations, name: str, outcomes: Mapping[str, str]) -> Figure:
    return Figure(
        name,
        tuple(_panel(correlations, outcome, title) for outcome, title in outcomes.items()),
        f"Rank correlations over {counted(correlations.table.documents, 'test document')} of "
        f"{' and '.join(outcomes.values())} with measures of the text, with simultaneous 95% "
        "intervals.",
    )


def _panel(correlations: Correlations, outcome: str, title: str) -> Panel:
    plain, partial = (
        [e for e in correlations.all if e.outcome == outcome and e.length_held == held]
        for held in (False, True)
    )
    x = torch.arange(len(plain)).double()
    ends = torch.tensor([each.rho.interval(correlations.level) for each in plain])
    values, held = (torch.tensor([e.rho.value for e in part]) for part in (plain, partial))
    bars = {"x": x, "y": values, "low": ends[:, 0].float(), "high": ends[:, 1].float()}
    words = tuple(measure_label(each.measure) for each in plain)
    layers = (
        Layer("bars", bars, "rank correlation", words=words),
        Layer("scatter", {"x": x, "y": held}, "given the length", series=1),
    )
    return Panel("", "rank correlation", layers, title[0].upper() + title[1:], share="rho")


def _points(correlations: Correlations) -> Figure:
    table = correlations.table
    rating = "annotated complexity"
    third = rating if rating in table.measures else "diversity"
    panels = tuple(
        Panel(
            measure_label(name),
            ERRORS["nats"],
            (Layer("scatter", {"x": table.measures[name], "y": table.nats}),),
        )
        for name in ("sentence_length", third, "surprisal")
    )
    caption = "The error of the fit by three measures of the text. Each point is a test document."
    return Figure("documents", panels, caption)
