"""Exact values of a heat map under the pointer: an invisible cell with a title for each."""

from html import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from sdelens.report import Layer, Panel
from sdelens.wording import visible
from sdelens_plugins.reporters.figures.layout import svg_box
from sdelens_plugins.reporters.figures.marks import column

MOST_CELLS = 6000
"""Larger maps have no titles, which would make the page too large."""


def value_titles(canvas: Canvas, axes: Axes, panel: Panel) -> str:
    """SVG elements, in points, to be drawn on top of a panel."""
    maps = (layer for layer in panel.layers if layer.mark == "heat")
    return "".join(
        _map_titles(svg_box(axes.bbox, canvas), axes, panel, layer)
        for layer in maps
        if layer.values["z"].numel() <= MOST_CELLS
    )


def _map_titles(
    box: tuple[float, float, float, float], axes: Axes, panel: Panel, layer: Layer
) -> str:
    left, top, right, bottom = box
    xs, ys, zs = (column(layer, role) for role in ("x", "y", "z"))
    x_edges = _edges(xs, axes.get_xlim(), left, right)
    y_edges = _edges(ys, axes.get_ylim(), bottom, top)
    names = [visible(word) for word in layer.words] or [f"{panel.x} {x:g}" for x in xs]
    rows = (
        _row_titles(x_edges, start, end, [f"{name}, {panel.y} {y:g}" for name in names], values)
        for start, end, y, values in zip(y_edges[:-1], y_edges[1:], ys, zs, strict=True)
    )
    return f'<g fill="none" pointer-events="all" stroke="none">{"".join(rows)}</g>'


def _row_titles(
    x_edges: NDArray[np.float64],
    start: float,
    end: float,
    names: list[str],
    values: NDArray[np.float64],
) -> str:
    height = end - start
    cells = zip(x_edges[:-1], np.diff(x_edges), names, values, strict=True)
    boxes = "".join(
        f'<path d="M{x:.1f} 0h{width:.1f}v{height:.2f}h{-width:.1f}z">'
        f"<title>{escape(f'{name}: {value:.4g}')}</title></path>"
        for x, width, name, value in cells
        if np.isfinite(value)
    )
    return f'<g transform="translate(0 {start:.2f})">{boxes}</g>'


def _edges(
    centres: NDArray[np.float64], limits: tuple[float, float], first: float, last: float
) -> NDArray[np.float64]:
    """Where cells around these centres begin and end, on the canvas."""
    if len(centres) == 1:
        edges = np.asarray(limits, dtype=float)
    else:
        middles = (centres[1:] + centres[:-1]) / 2
        ends = 2 * centres[0] - middles[0], 2 * centres[-1] - middles[-1]
        edges = np.concatenate([ends[:1], middles, ends[1:]])
    share = (edges - limits[0]) / (limits[1] - limits[0])
    positions: NDArray[np.float64] = first + share * (last - first)
    return positions
