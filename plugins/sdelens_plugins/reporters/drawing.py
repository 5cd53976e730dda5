"""Our `Figure` values, drawn by matplotlib: as PNG and SVG on white."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sdelens.report import Figure, Panel
from sdelens_plugins.reporters.hover import overlay
from sdelens_plugins.reporters.marks import INK, MARKS, column, label_words

WIDE, NARROW = 7.0, 3.45
"""Inches: the width of a page's text, and of a column."""
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, hence the same on every machine
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "legend.fontsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.4,
    "text.parse_math": False,  # a token may hold dollar signs
    "axes.unicode_minus": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "sdelens",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}
Limits = Mapping[str, tuple[tuple[float, float], tuple[float, float]]]
"""The ranges of x and y by the name under which panels share them."""


def png(figure: Figure, *, dpi: int = 200) -> bytes:
    """On white."""
    with _style():
        canvas = _drawn(figure, shared_limits(figure))
        FigureCanvasAgg(canvas)
        sink = BytesIO()
        canvas.savefig(sink, format="png", dpi=dpi, facecolor="white")
    return sink.getvalue()


def svg(figure: Figure) -> str:
    """On white, a file of its own; equal figures are equal bytes."""
    text = rendered(figure, shared_limits(figure), facecolor="white")
    return text.replace(INK, "#1a1a1a").replace("'DejaVu Sans'", "'DejaVu Sans', sans-serif")


def shared_limits(figure: Figure) -> Limits:
    """Ranges that hold all points of the panels that share them, with a margin."""
    names = {panel.share for panel in figure.panels if panel.share}
    return {name: _range([p for p in figure.panels if p.share == name]) for name in names}


def _range(panels: Sequence[Panel]) -> tuple[tuple[float, float], tuple[float, float]]:
    layers = [layer for panel in panels for layer in panel.layers]
    found = []
    for roles in (("x",), ("y", "low", "high")):
        every = np.concatenate([column(layer, r).ravel() for layer in layers for r in roles])
        every = every[np.isfinite(every)]
        low, high = (every.min(), every.max()) if len(every) else (0.0, 1.0)
        margin = 0.06 * (high - low) or 0.5
        found.append((float(low - margin), float(high + margin)))
    return found[0], found[1]


def rendered(figure: Figure, limits: Limits, *, titles: bool = False, **options: Any) -> str:
    """As SVG, without a date or the name of a program; with `titles`, cells tell their values."""
    with _style():
        canvas = _drawn(figure, limits)
        FigureCanvasSVG(canvas)
        sink = BytesIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        canvas.savefig(sink, format="svg", metadata=nothing, **options)
    text = sink.getvalue().decode()
    if not titles:
        return text
    return text.replace("</svg>", f"{overlay(canvas, figure.panels)}</svg>")


@contextmanager
def _style() -> Iterator[None]:
    """Our settings for a while; nothing of matplotlib's is changed afterwards."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # words of any script: a sign that the font lacks is drawn as a box, no reason to complain
        warnings.filterwarnings("ignore", message="Glyph")
        warnings.filterwarnings("ignore", message=".*constrained_layout not applied")
        yield


def has_words(figure: Figure) -> bool:
    """Whether words stand beside points, which needs a whole page's width."""
    return any(layer.mark == "words" for panel in figure.panels for layer in panel.layers)


def size_of(figure: Figure) -> tuple[float, float]:
    """Inches: words need room, and more than one panel the whole width."""
    if has_words(figure):
        return WIDE, 5.2
    count = len(figure.panels)
    return (NARROW, 2.7) if count == 1 else (WIDE, 3.1 if count == 2 else 2.5)


def _drawn(figure: Figure, limits: Limits) -> Canvas:
    canvas = Canvas(figsize=size_of(figure), layout="constrained")
    grid = canvas.subplots(1, len(figure.panels), squeeze=False)[0]
    for axes, panel in zip(grid, figure.panels, strict=True):
        _panel(axes, panel, limits)
    _legend(canvas, grid, wide=has_words(figure))
    FigureCanvasAgg(canvas)
    canvas.draw_without_rendering()  # fixes the layout, so that words can be measured
    for axes, panel in zip(grid, figure.panels, strict=True):
        label_words(axes, panel)
    return canvas


def _panel(axes: Axes, panel: Panel, limits: Limits) -> None:
    for layer in panel.layers:
        MARKS[layer.mark](axes, layer)
    axes.set(xlabel=panel.x, ylabel=panel.y, title=panel.title)
    _ticks(axes, panel)
    if panel.share:
        axes.set(xlim=limits[panel.share][0], ylim=limits[panel.share][1])
    if panel.equal:
        axes.set_aspect("equal", adjustable="datalim")
    if not any(layer.mark == "heat" for layer in panel.layers):
        axes.grid(visible=True, color=INK, alpha=0.1, linewidth=0.5)
        axes.set_axisbelow(True)


def _ticks(axes: Axes, panel: Panel) -> None:
    """Few round numbers; whole ones where the data are, as epochs and positions."""
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=(1, 2, 5, 10)))
    if not any(layer.words and layer.mark != "words" for layer in panel.layers):
        x = np.concatenate([np.empty(0), *(column(layer, "x") for layer in panel.layers)])
        whole = bool((x == x.round()).all())
        axes.xaxis.set_major_locator(MaxNLocator(7, steps=(1, 2, 5, 10), integer=whole))


def _legend(canvas: Canvas, grid: NDArray[np.object_], *, wide: bool) -> None:
    """One legend above all panels, each label once, if there is more than one."""
    named: dict[str, Artist] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    if len(named) > 1:
        # points: a letter takes about 4.3, a handle and the gaps about 38
        width = sum(4.3 * len(label) + 38 for label in named)
        rows = math.ceil(width / (72 * canvas.get_figwidth()))
        columns = math.ceil(len(named) / rows)
        # on a narrow screen a wide panel is seen from its left end
        place: Literal["outside upper left", "outside upper center"] = (
            "outside upper left" if wide else "outside upper center"
        )
        canvas.legend(list(named.values()), list(named), loc=place, ncols=columns)
