"""The layout of a figure: where panels are placed, and which limits they share."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.figure import SubFigure
from matplotlib.transforms import BboxBase

from sdelens.report import Figure, Layer, Panel, Scale
from sdelens_plugins.reporters.figures.marks import column

PAGE_WIDTH, COLUMN_WIDTH = 7.0, 3.5
"""Inches: the text width of a page, and of one of two columns."""
NARROW_WORDS, NARROW_COLUMNS = 10, 14
"""Words beside points and below a heat map that half the width of a page has room for."""
Limits = Mapping[str, tuple[tuple[float, float], tuple[float, float]]]
"""The ranges of x and y, by the name under which panels share them."""


def is_wide(panel: Panel) -> bool:
    """Whether a panel has more words than fit into half the width of a page."""
    return has_many_words(panel) or any(
        layer.mark == "heat" and len(layer.words) > NARROW_COLUMNS for layer in panel.layers
    )


def has_many_words(panel: Panel) -> bool:
    """Whether a panel has many words beside its points."""
    words = (len(layer.words) for layer in panel.layers if layer.mark == "words")
    return sum(words) > NARROW_WORDS


def width_of(panel: Panel) -> float:
    """The width of a panel in inches."""
    return PAGE_WIDTH if is_wide(panel) else COLUMN_WIDTH


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


def grid_of(
    panels: Sequence[Panel], heights: Sequence[float]
) -> tuple[Canvas, tuple[SubFigure, ...]]:
    """An empty canvas with a subfigure for each panel; a row is as high as its highest panel."""
    rows = rows_of(panels)
    heights = [max(heights[number] for number in row) for row in rows]
    width = PAGE_WIDTH if len(panels) > 1 or any(map(is_wide, panels)) else COLUMN_WIDTH
    canvas = Canvas(figsize=(width, sum(heights)), layout="constrained")
    columns = round(width / COLUMN_WIDTH)
    grid = canvas.add_gridspec(len(rows), columns, height_ratios=heights)
    subfigures = (
        canvas.add_subfigure(grid[row, :] if is_wide(panels[number]) else grid[row, place])
        for row, numbers in enumerate(rows)
        for place, number in enumerate(numbers)
    )
    return canvas, tuple(subfigures)


def align_rows(panels: Sequence[Panel], subfigures: Sequence[SubFigure]) -> None:
    """Give the axes of a row the same height, whatever is above and below them."""
    for numbers in rows_of(panels):
        row = [axes for number in numbers for axes in subfigures[number].axes]
        low = max(axes.get_position().y0 for axes in row)
        high = min(axes.get_position().y1 for axes in row)
        for axes in row:
            box = axes.get_position()
            axes.set_position((box.x0, low, box.width, high - low))


def svg_box(box: BboxBase, canvas: Canvas) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a box in points, counted from the upper left corner."""
    unit, height = 72 / canvas.dpi, 72 * canvas.get_figheight()
    return box.x0 * unit, height - box.y1 * unit, box.x1 * unit, height - box.y0 * unit


def shared_limits(figure: Figure) -> Limits:
    """Ranges that contain all marks of the panels that share them, with a margin."""
    names = {panel.share for panel in figure.panels if panel.share}
    return {name: _limits([p for p in figure.panels if p.share == name]) for name in names}


def _limits(panels: Sequence[Panel]) -> tuple[tuple[float, float], tuple[float, float]]:
    layers = [layer for panel in panels for layer in panel.layers]
    x = [column(layer, "x") for layer in layers]
    y = [values.ravel() for layer in layers for values in _heights(layer)]
    return _range(x, panels[0].x_scale), _range(y, panels[0].y_scale)


def _heights(layer: Layer) -> list[np.ndarray]:
    """All y of a layer; bars extend from their base."""
    found = [column(layer, role) for role in ("y", "low", "high")]
    if layer.mark == "bars":
        base = column(layer, "base") if "base" in layer.values else np.zeros(1)
        found = [base, *(base + values for values in found if len(values))]
    return found


def _range(columns: Sequence[np.ndarray], scale: Scale) -> tuple[float, float]:
    """The range of the values with a margin, which is a factor on a logarithmic scale."""
    values = np.concatenate([np.empty(0), *columns])
    if scale == "log":
        values = np.log10(values[values > 0])
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.5
    ends = float(low - margin), float(high + margin)
    return (10 ** ends[0], 10 ** ends[1]) if scale == "log" else ends
