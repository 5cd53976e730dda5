"""Places the words of a panel beside their points, once the layout is fixed."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from numpy.typing import NDArray

from sdelens.report import Panel
from sdelens.wording import visible
from sdelens_plugins.reporters.figures.labels import place_labels
from sdelens_plugins.reporters.figures.marks import column
from sdelens_plugins.reporters.figures.measure import LINE, text_width
from sdelens_plugins.reporters.figures.style import INK, PAPER, TEXT_SIZE


def label_words(axes: Axes, panel: Panel) -> None:
    """Place the words of all layers inside the axes; a thin line leads to distant ones."""
    layers = [layer for layer in panel.layers if layer.mark == "words" and layer.words]
    if not layers:
        return
    where = np.concatenate(
        [np.stack([column(layer, "x"), column(layer, "y")], axis=1) for layer in layers]
    )
    words = [visible(word) for layer in layers for word in layer.words]
    annotations = [
        _annotation(axes, word, place) for word, place in zip(words, where, strict=True)
    ]
    unit = 72 / axes.figure.dpi
    points, frame = axes.transData.transform(where) * unit, np.array(axes.bbox.extents) * unit
    sizes = [(text_width(each.get_text()) + 2, LINE) for each in annotations]
    boxes = place_labels(points, sizes, frame)
    for annotation, point, box in zip(annotations, points, boxes, strict=True):
        annotation.set_position((box[::2].mean() - point[0], box[1::2].mean() - point[1]))


def _annotation(axes: Axes, word: str, place: NDArray[np.float64]) -> Annotation:
    annotation = axes.annotate(
        word.strip("·") or word,
        (float(place[0]), float(place[1])),
        xytext=(0, 0),
        textcoords="offset points",
        ha="center",
        va="center_baseline",
        fontsize=TEXT_SIZE,
        annotation_clip=False,
        # a box behind the word, not a stroke around it, which would turn SVG text into outlines
        bbox={"facecolor": PAPER, "alpha": 0.75, "linewidth": 0, "pad": 0.3},
        arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.4, "alpha": 0.5},
    )
    annotation.set_in_layout(False)
    return annotation
