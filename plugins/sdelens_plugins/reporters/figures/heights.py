"""How high panels are: what they contain, and the legends above them."""

from sdelens.report import Panel
from sdelens_plugins.reporters.figures.categories import labels_height
from sdelens_plugins.reporters.figures.layout import has_many_words
from sdelens_plugins.reporters.figures.legend import legend_height
from sdelens_plugins.reporters.figures.measure import LINE

WORDS_HEIGHT, HEIGHT = 5.2, 2.7
"""Of panels with and without words beside their points, in inches."""
AROUND = 72.0
"""The height of the title and the axis label around horizontal bars, in points."""


def height_of(panel: Panel, *, legend: bool) -> float:
    """The height of a panel in inches; a legend of several lines adds to it."""
    above = legend_height(panel) if legend else 0.0
    if has_many_words(panel):
        return WORDS_HEIGHT
    labels = labels_height(panel)
    bars = labels + AROUND + above if labels else 0.0
    return max(HEIGHT + max(above - 1.3 * LINE, 0.0) / 72, bars / 72)
