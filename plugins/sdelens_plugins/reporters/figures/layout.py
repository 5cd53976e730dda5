"""The layout of a figure: where panels and legends are placed, and which limits panels share."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure as Canvas
from matplotlib.figure import SubFigure
from matplotlib.transforms import BboxBase

from sdelens.report import Figure, Panel
from sdelens_plugins.reporters.figures.marks import column

PAGE_WIDTH, COLUMN_WIDTH = 7.0, 3.45
"""Inches: the text width of a page, and of one of two columns."""
WORDS_HEIGHT, HEIGHT = 5.2, 2.7
Limits = Mapping[str, tuple[tuple[float, float], tuple[float, float]]]
"""The ranges of x and y, by the name under which panels share them."""


def is_wide(panel: Panel) -> bool:
    """Whether a panel has words beside its points, which need the width of a page."""
    return any(layer.mark == "words" for layer in panel.layers)


def rows_of(panels: Sequence[Panel]) -> list[list[int]]:
    """The panels' numbers row by row: two panels to a row, wide ones in a row of their own."""
    rows: list[list[int]] = []
    for number, panel in enumerate(panels):
        last = rows[-1] if rows else []
        if len(last) == 1 and not is_wide(panel) and not is_wide(panels[last[0]]):
            last.append(number)
        else:
            rows.append([number])
    return rows


def grid_of(panels: Sequence[Panel]) -> tuple[Canvas, tuple[SubFigure, ...]]:
    """An empty canvas with a subfigure for each panel."""
    rows = rows_of(panels)
    heights = [WORDS_HEIGHT if is_wide(panels[row[0]]) else HEIGHT for row in rows]
    width = PAGE_WIDTH if len(panels) > 1 or any(map(is_wide, panels)) else COLUMN_WIDTH
    canvas = Canvas(figsize=(width, sum(heights)), layout="constrained")
    columns = max(map(len, rows))
    grid = canvas.add_gridspec(len(rows), columns, height_ratios=heights)
    subfigures = (
        canvas.add_subfigure(grid[row, :] if is_wide(panels[number]) else grid[row, place])
        for row, numbers in enumerate(rows)
        for place, number in enumerate(numbers)
    )
    return canvas, tuple(subfigures)


def svg_box(box: BboxBase, canvas: Canvas) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a box in points, counted from the upper left corner."""
    unit, height = 72 / canvas.dpi, 72 * canvas.get_figheight()
    return box.x0 * unit, height - box.y1 * unit, box.x1 * unit, height - box.y0 * unit


def shared_limits(figure: Figure) -> Limits:
    """Ranges that contain all points of the panels that share them, with a margin."""
    names = {panel.share for panel in figure.panels if panel.share}
    return {name: _limits([p for p in figure.panels if p.share == name]) for name in names}


def _limits(panels: Sequence[Panel]) -> tuple[tuple[float, float], tuple[float, float]]:
    layers = [layer for panel in panels for layer in panel.layers]
    found = []
    for roles in (("x",), ("y", "low", "high")):
        values = np.concatenate([column(layer, r).ravel() for layer in layers for r in roles])
        values = values[np.isfinite(values)]
        low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
        margin = 0.06 * (high - low) or 0.5
        found.append((float(low - margin), float(high + margin)))
    return found[0], found[1]


def add_legend(subfigure: SubFigure, panel: Panel) -> None:
    """A legend above the panel, each label once, if there is more than one label."""
    named: dict[str, Artist] = {}
    for handle, label in zip(*subfigure.axes[0].get_legend_handles_labels(), strict=True):
        named.setdefault(label, handle)
    if len(named) < 2:
        return
    columns = legend_columns(list(named), PAGE_WIDTH if is_wide(panel) else COLUMN_WIDTH)
    # a narrow screen shows the left end of a wide panel first
    place: Literal["outside upper left", "outside upper center"] = (
        "outside upper left" if is_wide(panel) else "outside upper center"
    )
    subfigure.legend(list(named.values()), list(named), loc=place, ncols=columns)


def legend_columns(labels: Sequence[str], width: float) -> int:
    """The largest number of legend columns that fit into a width in inches.

    Matplotlib fills a legend column by column, and each column is as wide as its longest label.

    >>> legend_columns(["drift", "lack of fit", "memory", "unexplained", "sampling noise"], 3.45)
    2
    """
    for columns in range(len(labels), 1, -1):
        rows = math.ceil(len(labels) / columns)
        longest = [max(map(len, labels[k : k + rows])) for k in range(0, len(labels), rows)]
        # in points: a letter takes about 4.3, the handle and the gaps about 38
        if sum(4.3 * letters + 38 for letters in longest) <= 72 * width:
            return len(longest)
    return 1
