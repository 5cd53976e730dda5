"""Titles and axis labels, broken into lines where they are longer than their axis."""

from matplotlib.figure import SubFigure

from sdelens.report import Panel
from sdelens_plugins.reporters.figures.categories import runs_across
from sdelens_plugins.reporters.figures.layout import width_of
from sdelens_plugins.reporters.figures.measure import wrapped
from sdelens_plugins.reporters.figures.style import TITLE_SIZE

SIDE, WIDE_SIDE = 62.0, 135.0
"""What is beside the axes, in points; the second with long labels or a colour bar."""
UPRIGHT = 118.0
"""The length of a label beside an axis in the least panel, in points."""


def label_axes(subfigure: SubFigure, panel: Panel) -> None:
    """The title and the labels of a panel, and of its colours."""
    axes, *colour_bars = subfigure.axes
    across = runs_across(panel)
    width = 72 * width_of(panel) - (WIDE_SIDE if across or colour_bars else SIDE)
    x, y = (panel.y, panel.x) if across else (panel.x, panel.y)
    axes.set_xlabel(wrapped(x, width))
    axes.set_ylabel(wrapped(y, UPRIGHT))
    axes.set_title(wrapped(panel.title, width, TITLE_SIZE))
    for bar in colour_bars:
        bar.set_ylabel(wrapped(bar.get_ylabel(), UPRIGHT))
