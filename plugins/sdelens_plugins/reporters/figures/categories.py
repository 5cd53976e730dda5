"""Bars with a label each: whether they run across, and how high their panel is."""

from sdelens.report import Layer, Panel
from sdelens_plugins.reporters.figures.measure import LINE, text_width, wrapped

AXES_WIDTH = 195.0
"""The least width of a narrow panel's axes, in points."""
LONGEST = 120.0
"""The width at which a label is broken into lines, in points."""


def labelled_bars(panel: Panel) -> Layer | None:
    """The first bars with labels, which turn an axis into categories."""
    layers = (layer for layer in panel.layers if layer.mark == "bars" and layer.words)
    return next(layers, None)


def runs_across(panel: Panel) -> bool:
    """Whether bars are horizontal, because their labels would collide below upright ones."""
    bars = labelled_bars(panel)
    if bars is None:
        return False
    return max(map(text_width, bars.words)) + 4 > AXES_WIDTH / len(bars.words)


def category_labels(layer: Layer) -> list[str]:
    """The labels, long ones in several lines."""
    return [wrapped(word, LONGEST) for word in layer.words]


def labels_height(panel: Panel) -> float:
    """The height that labels of horizontal bars need, in points; 0 for other panels."""
    bars = labelled_bars(panel)
    if bars is None or not runs_across(panel):
        return 0.0
    lines = max(label.count("\n") + 1 for label in category_labels(bars))
    return len(bars.words) * (lines * LINE + 3)
