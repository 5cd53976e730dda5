"""What a reader could not make out in a figure, measured on its drawing."""

from itertools import combinations

from matplotlib.text import Annotation, Text

from sdelens_plugins.reporters.figures.categories import labelled_bars, runs_across
from sdelens_plugins.reporters.figures.drawing import drawing_of
from sdelens_plugins.reporters.figures.layout import width_of
from sdelens_plugins.reporters.figures.style import figure_style

SMALLEST = 9
"""Pixels that text has at least."""
NARROWEST, NARROWEST_WIDE = 272, 672
"""The least width of a panel on a page that is at least 1100 pixels wide, in pixels."""
TOLERANCE = 1.0
"""Points by which boxes may overlap."""


def faults(figure):
    """Each text that is cut off, small or overlaps another, and panels of different limits."""
    return [f"{figure.name}: {fault}" for fault in faults_of(drawing_of(figure))]


def faults_of(drawing):
    """The faults of a drawing."""
    with figure_style():  # positions are those of the last drawing, perhaps at another resolution
        drawing.canvas.draw_without_rendering()
    found = []
    for subfigure, panel in zip(drawing.subfigures, drawing.figure.panels, strict=True):
        boxes = _boxes(drawing, subfigure)
        found += [f"{text!r} is cut off" for text, box, _ in boxes if not _inside(subfigure, box)]
        wide = width_of(panel) > 4
        pixel = (NARROWEST_WIDE if wide else NARROWEST) / (72 * width_of(panel))
        found += [f"{text!r} is small" for text, _, size in boxes if size * pixel < SMALLEST]
        fixed = [
            (text, box) for text, box, _ in boxes[: len(boxes) - len(subfigure.axes[0].texts)]
        ]
        found += [
            f"{one!r} overlaps {other!r}"
            for (one, box), (other, another) in combinations(fixed, 2)
            if _overlap(box, another, drawing.canvas.dpi)
        ]
    return found + _unequal(drawing)


def _boxes(drawing, subfigure):
    """Text, box and size of all that is written, words beside points last."""
    axes = subfigure.axes
    texts = [text for legend in subfigure.legends for text in legend.get_texts()]
    for one in axes:
        texts += [one.title, one.xaxis.label, one.yaxis.label]
        texts += [*_tick_labels(one.xaxis), *_tick_labels(one.yaxis)]
    texts += axes[0].texts
    renderer = drawing.canvas.canvas.get_renderer()
    return [
        (text.get_text(), _text_box(text, renderer), text.get_fontsize())
        for text in texts
        if text.get_text() and text.get_visible()
    ]


def _text_box(text, renderer):
    """The box of the letters, without the line that leads from a word to its point."""
    if isinstance(text, Annotation):
        text.update_positions(renderer)
    return Text.get_window_extent(text, renderer)


def _tick_labels(axis):
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [label for tick in ticks for label in (tick.label1, tick.label2)]


def _inside(subfigure, box):
    frame = subfigure.bbox
    return (
        box.x0 >= frame.x0 - 1
        and box.y0 >= frame.y0 - 1
        and box.x1 <= frame.x1 + 1
        and box.y1 <= frame.y1 + 1
    )


def _overlap(one, other, dpi):
    margin = TOLERANCE * dpi / 72
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return width > margin and height > margin


def _unequal(drawing):
    """Panels that share limits in name only."""
    values, x = {}, {}
    for subfigure, panel in zip(drawing.subfigures, drawing.figure.panels, strict=True):
        axes = subfigure.axes[0]
        if panel.share:
            limits = axes.get_xlim() if runs_across(panel) else axes.get_ylim()
            values.setdefault(panel.share, set()).add(limits)
        if panel.share and not labelled_bars(panel):
            x.setdefault(panel.share, set()).add(axes.get_xlim())
    shares = [*values.items(), *x.items()]
    return [f"{name!r} has several limits" for name, found in shares if len(found) > 1]
