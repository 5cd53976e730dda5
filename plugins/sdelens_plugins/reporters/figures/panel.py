"""Draws one panel of a figure on its axes."""

import numpy as np
from matplotlib.axes import Axes

from sdelens.report import Panel
from sdelens_plugins.reporters.figures.categories import labelled_bars, runs_across
from sdelens_plugins.reporters.figures.layout import Limits
from sdelens_plugins.reporters.figures.marks import MARKS, column
from sdelens_plugins.reporters.figures.style import INK
from sdelens_plugins.reporters.figures.ticks import set_scale, set_ticks


def draw_panel(axes: Axes, panel: Panel, limits: Limits) -> None:
    """All layers, the last on top, limits, ticks and the grid; text is added later."""
    across = runs_across(panel)
    for order, layer in enumerate(panel.layers):
        before = set(axes.get_children())
        MARKS[layer.mark](axes, layer, across=across)
        for artist in set(axes.get_children()) - before:
            artist.set_zorder(2 + order / len(panel.layers))
    values = axes.xaxis if across else axes.yaxis
    set_scale(values, panel.y_scale)
    if labelled_bars(panel) is None:
        set_scale(axes.xaxis, panel.x_scale)
    if panel.share:
        _set_limits(axes, panel, limits, across=across)
    if panel.equal:
        axes.set_aspect("equal", adjustable="datalim")
    rows = [column(layer, "y") for layer in panel.layers if layer.mark == "heat"]
    set_ticks(
        values,
        panel.y_scale,
        most=5 if across and panel.y_scale == "linear" else 7,
        integer=bool(rows) and all((y == y.round()).all() for y in rows),
    )
    if not any(layer.words and layer.mark != "words" for layer in panel.layers):
        x = np.concatenate([np.empty(0), *(column(layer, "x") for layer in panel.layers)])
        set_ticks(axes.xaxis, panel.x_scale, most=6, integer=bool((x == x.round()).all()))
    if not any(layer.mark == "heat" for layer in panel.layers):
        axes.grid(visible=True, color=INK, alpha=0.1, linewidth=0.5)
        axes.set_axisbelow(True)


def _set_limits(axes: Axes, panel: Panel, limits: Limits, *, across: bool) -> None:
    x, y = limits[panel.share]
    (axes.set_xlim if across else axes.set_ylim)(*y)
    if labelled_bars(panel) is None:
        axes.set_xlim(*x)
