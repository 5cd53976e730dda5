"""Legends: which panels have one, and in how many columns."""

import math
from collections.abc import Sequence
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.figure import SubFigure

from sdelens.report import Layer, Panel
from sdelens_plugins.reporters.figures.layout import is_wide, width_of
from sdelens_plugins.reporters.figures.measure import LINE, text_width

HANDLE = 40.0
"""The width of a legend's handle and of the gaps beside it, in points."""
Entry = tuple[str, str, int, bool]
"""The label, mark, series and dashes of a layer."""


def panels_with_legend(panels: Sequence[Panel]) -> list[bool]:
    """Whether each panel has a legend: if one is needed, and no earlier panel has explained it."""
    explained: list[set[Entry]] = []
    found = []
    for panel in panels:
        entries = {entry for entry in map(_entry, panel.layers) if entry[0]}
        found.append(_needs_legend(panel) and not any(entries <= each for each in explained))
        if found[-1]:
            explained.append(entries)
    return found


def _entry(layer: Layer) -> Entry:
    label = "" if layer.mark in ("heat", "words") else layer.label
    return label, layer.mark, layer.series, layer.dashed


def _needs_legend(panel: Panel) -> bool:
    """Two labels need a legend, and so does one label beside marks of another colour."""
    entries = list(map(_entry, panel.layers))
    labels = {label for label, *_ in entries if label}
    colours = {series for _, mark, series, _ in entries if mark not in ("heat", "words")}
    return len(labels) > 1 or (len(labels) == 1 and len(colours) > 1)


def labels_of(panel: Panel) -> list[str]:
    """The labels of a legend, each once."""
    return list(dict.fromkeys(label for label, *_ in map(_entry, panel.layers) if label))


def legend_height(panel: Panel) -> float:
    """The height of the panel's legend in points."""
    labels = labels_of(panel)
    return LINE * 1.25 * math.ceil(len(labels) / legend_columns(labels, width_of(panel)))


def add_legend(subfigure: SubFigure, panel: Panel) -> None:
    """A legend above the panel, each label once."""
    named: dict[str, Artist] = {}
    for handle, label in zip(*subfigure.axes[0].get_legend_handles_labels(), strict=True):
        named.setdefault(label, handle)
    columns = legend_columns(list(named), width_of(panel))
    # a narrow screen shows the left end of a wide panel first
    place: Literal["outside upper left", "outside upper center"] = (
        "outside upper left" if is_wide(panel) else "outside upper center"
    )
    subfigure.legend(list(named.values()), list(named), loc=place, ncols=columns)


def legend_columns(labels: Sequence[str], width: float) -> int:
    """The largest number of legend columns that fit into a width in inches.

    Matplotlib fills a legend column by column, and each column is as wide as its longest label.

    >>> legend_columns(["drift", "lack of fit", "memory", "unexplained", "sampling noise"], 3.5)
    2
    """
    for columns in range(len(labels), 1, -1):
        rows = math.ceil(len(labels) / columns)
        widest = [max(map(text_width, labels[k : k + rows])) for k in range(0, len(labels), rows)]
        if sum(text + HANDLE for text in widest) <= 72 * width:
            return len(widest)
    return 1
