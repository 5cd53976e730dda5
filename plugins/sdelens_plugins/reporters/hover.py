"""Exact values of a heat map under the pointer: an invisible cell with a title for each."""

from collections.abc import Iterator
from html import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from sdelens.report import Layer, Panel, visible
from sdelens_plugins.reporters.marks import column

MOST = 6000
"""Cells of a map beyond which a page would grow too large: such a map has no titles."""


def overlay(canvas: Canvas, panels: tuple[Panel, ...]) -> str:
    """SVG to be put on top of a drawn figure, in points."""
    width, height = 72 * canvas.get_size_inches()
    parts = [
        _cells(axes, panel, layer, float(width), float(height))
        for axes, panel in zip(canvas.axes, panels, strict=False)  # colour bars come after
        for layer in panel.layers
        if layer.mark == "heat" and layer.values["z"].numel() <= MOST
    ]
    return "".join(parts)


def _cells(axes: Axes, panel: Panel, layer: Layer, width: float, height: float) -> str:
    box = axes.get_position()
    across = _edges(column(layer, "x"), axes.get_xlim(), box.x0 * width, box.x1 * width)
    down = _edges(
        column(layer, "y"), axes.get_ylim(), (1 - box.y0) * height, (1 - box.y1) * height
    )
    rows = zip(down[:-1], down[1:], column(layer, "y"), column(layer, "z"), strict=True)
    marks = "".join(_row(across, *row, panel, layer) for row in rows)
    return f'<g fill="none" pointer-events="all" stroke="none">{marks}</g>'


def _row(
    across: NDArray[np.float64],
    start: float,
    end: float,
    y: float,
    values: NDArray[np.float64],
    panel: Panel,
    layer: Layer,
) -> str:
    names = [visible(word) for word in layer.words] or [
        f"{panel.x} {x:g}" for x in column(layer, "x")
    ]
    said = (
        escape(f"{name}, {panel.y} {y:g}: {value:.4g}")
        for name, value in zip(names, values, strict=True)
    )
    cells = _boxes(across, end - start)
    inside = "".join(
        f"{cell}<title>{words}</title></path>" for cell, words in zip(cells, said, strict=True)
    )
    return f'<g transform="translate(0 {start:.2f})">{inside}</g>'


def _boxes(across: NDArray[np.float64], high: float) -> Iterator[str]:
    """A box from each edge to the next."""
    for x, width in zip(across[:-1], np.diff(across), strict=True):
        yield f'<path d="M{x:.1f} 0h{width:.1f}v{high:.2f}h{-width:.1f}z">'


def _edges(
    centres: NDArray[np.float64], limits: tuple[float, float], first: float, last: float
) -> NDArray[np.float64]:
    """Where cells around these centres begin and end, on the paper."""
    if len(centres) == 1:
        inner = np.asarray(limits, dtype=float)
    else:
        middles = (centres[1:] + centres[:-1]) / 2
        inner = np.concatenate(
            [[2 * centres[0] - middles[0]], middles, [2 * centres[-1] - middles[-1]]]
        )
    share = (inner - limits[0]) / (limits[1] - limits[0])
    placed: NDArray[np.float64] = first + share * (last - first)
    return placed
