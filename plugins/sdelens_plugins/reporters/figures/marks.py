"""Draws each mark of a `Layer` on a pair of axes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from sdelens.report import Layer
from sdelens.wording import visible
from sdelens_plugins.reporters.figures.categories import category_labels
from sdelens_plugins.reporters.figures.style import INK, PALETTE

MOST_WORDS = 40
"""Words that are legible below a heat map; of more, some are left out."""


def column(layer: Layer, role: str) -> NDArray[np.float64]:
    """The values of a role; empty if the layer has none."""
    if role not in layer.values:
        return np.empty(0)
    values: NDArray[np.float64] = layer.values[role].detach().cpu().double().numpy()
    return values


def _look(layer: Layer) -> dict[str, Any]:
    colour = PALETTE[layer.series % len(PALETTE)]
    return {"color": colour, "label": layer.label or None}


def _points(layer: Layer, *, across: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = column(layer, "x"), column(layer, "y")
    return (y, x) if across else (x, y)


def _line(axes: Axes, layer: Layer, *, across: bool = False) -> None:
    x = column(layer, "x")
    axes.plot(
        *_points(layer, across=across),
        **_look(layer),
        linestyle=(0, (4, 1.6)) if layer.dashed else "-",
        linewidth=0.9 if len(x) > 30 and (np.diff(x) < 0).any() else None,
        marker="o" if np.isfinite(column(layer, "y")).sum() == 1 else "",
        markersize=3,
    )


def _band(axes: Axes, layer: Layer, *, across: bool = False) -> None:
    x, low, high = (column(layer, role) for role in ("x", "low", "high"))
    fill = axes.fill_betweenx if across else axes.fill_between
    fill(x, low, high, **_look(layer), alpha=0.2, linewidth=0)


def _scatter(axes: Axes, layer: Layer, *, across: bool = False) -> None:
    look = _look(layer)
    ring = len(column(layer, "x")) == 1
    axes.plot(
        *_points(layer, across=across),
        **look,
        linestyle="",
        marker="o",
        markersize=7 if ring else 3,
        markeredgewidth=1.6 if ring else None,
        markerfacecolor="none" if ring else look["color"],
    )


def _arrows(axes: Axes, layer: Layer, *, across: bool = False) -> None:
    del across
    columns = [column(layer, role) for role in ("x", "y", "u", "v")]
    axes.quiver(*columns, **_look(layer), angles="xy", width=0.004)


def _bars(axes: Axes, layer: Layer, *, across: bool = False) -> None:
    x, y = column(layer, "x"), column(layer, "y")
    width = 0.8 * float(np.diff(x).min()) if len(x) > 1 else 0.8
    base = column(layer, "base") if "base" in layer.values else np.zeros(len(x))
    if across:
        axes.barh(x, y, height=width, left=base, **_look(layer))
    else:
        axes.bar(x, y, width=width, bottom=base, **_look(layer))
    if "low" in layer.values and "high" in layer.values:
        ends = np.stack([y - column(layer, "low"), column(layer, "high") - y])
        style: dict[str, Any] = {"fmt": "none", "ecolor": INK, "elinewidth": 0.8, "capsize": 2}
        if across:
            axes.errorbar(base + y, x, xerr=ends, **style)
        else:
            axes.errorbar(x, base + y, yerr=ends, **style)
    if (y < 0).any():
        (axes.axvline if across else axes.axhline)(0, color=INK, linewidth=0.6)
    if layer.words:
        first, last = x.min() - 0.75 * width, x.max() + 0.75 * width
        (axes.set_yticks if across else axes.set_xticks)(x, category_labels(layer))
        if across:
            axes.set_ylim(last, first)  # the first category is at the top
        else:
            axes.set_xlim(first, last)


def _heat(axes: Axes, layer: Layer, *, across: bool = False) -> None:
    del across
    x, y, z = (column(layer, role) for role in ("x", "y", "z"))
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    if layer.signed:
        high = max(-low, high)
        low = -high
    mesh = axes.pcolormesh(
        x,
        y,
        z,
        shading="nearest",
        cmap="RdBu_r" if layer.signed else "cividis",
        vmin=low,
        vmax=high,
        rasterized=True,
    )
    axes.figure.colorbar(mesh, ax=axes, label=layer.label)
    if layer.words:
        kept = slice(None, None, -(-len(x) // MOST_WORDS))
        axes.set_xticks(x[kept], [visible(word) for word in layer.words[kept]], rotation=90)


def _words(axes: Axes, layer: Layer, *, across: bool = False) -> None:
    """Draws nothing: `label_words` places words once the layout is fixed."""
    del axes, layer, across


MARKS: Mapping[str, Callable[..., None]] = {
    "line": _line,
    "band": _band,
    "scatter": _scatter,
    "arrows": _arrows,
    "bars": _bars,
    "heat": _heat,
    "words": _words,
}
