"""Draws each mark of a `Layer` on a pair of axes."""

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from numpy.typing import NDArray

from sdelens.report import Layer, Panel, visible
from sdelens_plugins.reporters.figures.labels import place_labels
from sdelens_plugins.reporters.figures.style import INK, PALETTE, PAPER


def column(layer: Layer, role: str) -> NDArray[np.float64]:
    """The values of a role; empty if the layer has none."""
    if role not in layer.values:
        return np.empty(0)
    values: NDArray[np.float64] = layer.values[role].detach().cpu().double().numpy()
    return values


def _colour(layer: Layer) -> str:
    return PALETTE[layer.series % len(PALETTE)]


def _label(layer: Layer) -> str | None:
    return layer.label or None


def _line(axes: Axes, layer: Layer) -> None:
    x, y = column(layer, "x"), column(layer, "y")
    axes.plot(
        x,
        y,
        color=_colour(layer),
        label=_label(layer),
        linestyle=(0, (4, 1.6)) if layer.dashed else "-",
        linewidth=0.9 if len(x) > 30 and (np.diff(x) < 0).any() else None,
        marker="o" if np.isfinite(y).sum() == 1 else "",
        markersize=3,
    )


def _band(axes: Axes, layer: Layer) -> None:
    x, low, high = (column(layer, role) for role in ("x", "low", "high"))
    colour = _colour(layer)
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0, label=_label(layer))


def _scatter(axes: Axes, layer: Layer) -> None:
    x, y = column(layer, "x"), column(layer, "y")
    ring = len(x) == 1
    axes.plot(
        x,
        y,
        color=_colour(layer),
        label=_label(layer),
        linestyle="",
        marker="o",
        markersize=7 if ring else 3,
        markerfacecolor="none" if ring else _colour(layer),
    )


def _arrows(axes: Axes, layer: Layer) -> None:
    columns = [column(layer, role) for role in ("x", "y", "u", "v")]
    axes.quiver(*columns, color=_colour(layer), angles="xy", width=0.004, label=_label(layer))


def _bars(axes: Axes, layer: Layer) -> None:
    x, y = column(layer, "x"), column(layer, "y")
    width = 0.8 * float(np.diff(x).min()) if len(x) > 1 else 0.8
    base = column(layer, "base") if "base" in layer.values else np.zeros(len(x))
    axes.bar(x, y, width=width, bottom=base, color=_colour(layer), label=_label(layer))
    if "low" in layer.values and "high" in layer.values:
        ends = np.stack([y - column(layer, "low"), column(layer, "high") - y])
        axes.errorbar(x, base + y, ends, fmt="none", ecolor=INK, elinewidth=0.8, capsize=2)
    if (y < 0).any():
        axes.axhline(0, color=INK, linewidth=0.6)
    if layer.words:
        axes.set_xticks(x, list(layer.words), rotation=45, ha="right")


def _heat(axes: Axes, layer: Layer) -> None:
    x, y, z = (column(layer, role) for role in ("x", "y", "z"))
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    signed = low < 0 < high
    end = max(-low, high)
    limits = (-end, end) if signed else (low, high)
    mesh = axes.pcolormesh(
        x,
        y,
        z,
        shading="nearest",
        cmap="RdBu_r" if signed else "cividis",
        vmin=limits[0],
        vmax=limits[1],
        rasterized=True,
    )
    axes.figure.colorbar(mesh, ax=axes, label=layer.label)
    if layer.words:
        axes.set_xticks(x, [visible(word) for word in layer.words], rotation=90)


def _words(axes: Axes, layer: Layer) -> None:
    """Draws nothing: `label_words` places words once the layout is fixed."""
    del axes, layer


MARKS: Mapping[str, Callable[[Axes, Layer], None]] = {
    "line": _line,
    "band": _band,
    "scatter": _scatter,
    "arrows": _arrows,
    "bars": _bars,
    "heat": _heat,
    "words": _words,
}


def label_words(axes: Axes, panel: Panel) -> None:
    """Place the words of a panel beside their points; a thin line leads to distant ones."""
    for layer in panel.layers:
        if layer.mark != "words" or not layer.words:
            continue
        where = np.stack([column(layer, "x"), column(layer, "y")], axis=1)
        annotations = [
            _annotation(axes, visible(word), place)
            for word, place in zip(layer.words, where, strict=True)
        ]
        points = axes.transData.transform(where) * 72 / axes.figure.dpi
        sizes = [(0.58 * 7 * len(annotation.get_text()) + 2, 8.5) for annotation in annotations]
        for annotation, point, box in zip(
            annotations, points, place_labels(points, sizes), strict=True
        ):
            annotation.set_position((box[::2].mean() - point[0], box[1::2].mean() - point[1]))


def _annotation(axes: Axes, word: str, place: NDArray[np.float64]) -> Annotation:
    annotation = axes.annotate(
        word.strip("·") or word,
        (float(place[0]), float(place[1])),
        xytext=(0, 0),
        textcoords="offset points",
        ha="center",
        va="center_baseline",
        fontsize=7,
        annotation_clip=False,
        # a box behind the word, not a stroke around it, which would turn SVG text into outlines
        bbox={"facecolor": PAPER, "alpha": 0.75, "linewidth": 0, "pad": 0.3},
        arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.4, "alpha": 0.5},
    )
    annotation.set_in_layout(False)
    return annotation
