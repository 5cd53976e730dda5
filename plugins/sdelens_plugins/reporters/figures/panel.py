"""Draws one panel of a figure on its axes."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sdelens.report import Panel
from sdelens_plugins.reporters.figures.layout import Limits
from sdelens_plugins.reporters.figures.marks import MARKS, column
from sdelens_plugins.reporters.figures.style import INK


def draw_panel(axes: Axes, panel: Panel, limits: Limits) -> None:
    """All layers, labels, ticks, limits and the grid; words are placed later."""
    for layer in panel.layers:
        MARKS[layer.mark](axes, layer)
    axes.set(xlabel=panel.x, ylabel=panel.y, title=panel.title)
    _set_ticks(axes, panel)
    if panel.share:
        axes.set(xlim=limits[panel.share][0], ylim=limits[panel.share][1])
    if panel.equal:
        axes.set_aspect("equal", adjustable="datalim")
    if not any(layer.mark == "heat" for layer in panel.layers):
        axes.grid(visible=True, color=INK, alpha=0.1, linewidth=0.5)
        axes.set_axisbelow(True)


def _set_ticks(axes: Axes, panel: Panel) -> None:
    """Few round numbers; integers where the data are integers, such as epochs and positions."""
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=(1, 2, 5, 10)))
    if not any(layer.words and layer.mark != "words" for layer in panel.layers):
        x = np.concatenate([np.empty(0), *(column(layer, "x") for layer in panel.layers)])
        integer = bool((x == x.round()).all())
        axes.xaxis.set_major_locator(MaxNLocator(7, steps=(1, 2, 5, 10), integer=integer))
