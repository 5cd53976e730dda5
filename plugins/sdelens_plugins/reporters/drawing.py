"""Our `Figure` values, drawn by matplotlib: for paper, and for a page with light and dark."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray
from sdelens_plugins.reporters.marks import MARKS, label_words

from sdelens.report import Figure, Panel

WIDE, NARROW = 7.0, 3.45
"""Inches: the width of a page's text, and of a column."""
INK = "#010203"
"""The colour of text and axes; no other mark has it, so that it can be replaced."""
STYLE = {
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
    return _svg(figure, shared_limits(figure), facecolor="white").replace(INK, "#1a1a1a")


def themed_panels(figure: Figure, *, prefix: str) -> tuple[str, ...]:
    """One SVG element for each panel, to stand in a page: no background, the page's own colours.

    Text and axes are ``currentColor``, series ``var(--series-k)``. `prefix` keeps the names that an
    element refers to apart from those of others on the page.
    """
    limits = shared_limits(figure)
    alone = [replace(figure, panels=(panel,)) for panel in figure.panels]
    drawn = [_svg(single, limits, transparent=True) for single in alone]
    return tuple(_themed(text, f"{prefix}-{number}-") for number, text in enumerate(drawn))


def shared_limits(figure: Figure) -> Limits:
    """Ranges that hold all points of the panels that share them, with a margin."""
    names = {panel.share for panel in figure.panels if panel.share}
    return {name: _range([p for p in figure.panels if p.share == name]) for name in names}


def _range(panels: Sequence[Panel]) -> tuple[tuple[float, float], tuple[float, float]]:
    layers = [layer for panel in panels for layer in panel.layers]
    found = []
    for roles in (("x",), ("y", "low", "high")):
        values = [layer.values[r].flatten() for layer in layers for r in roles if r in layer.values]
        every = np.concatenate([np.asarray(value, dtype=float) for value in values])
        every = every[np.isfinite(every)]
        low, high = (every.min(), every.max()) if len(every) else (0.0, 1.0)
        margin = 0.06 * (high - low) or 0.5
        found.append((float(low - margin), float(high + margin)))
    return found[0], found[1]


def _svg(figure: Figure, limits: Limits, **options: object) -> str:
    with _style():
        canvas = _drawn(figure, limits)
        FigureCanvasSVG(canvas)
        sink = BytesIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        canvas.savefig(sink, format="svg", metadata=nothing, **options)
    return sink.getvalue().decode()


@contextmanager
def _style() -> Iterator[None]:
    """Our settings for a while; nothing of matplotlib's is changed afterwards."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # words of any script: a sign that the font lacks is drawn as a box, no reason to complain
        warnings.filterwarnings("ignore", message="Glyph")
        warnings.filterwarnings("ignore", message=".*constrained_layout not applied")
        yield


def size_of(figure: Figure) -> tuple[float, float]:
    """Inches: words need room, and more than one panel the whole width."""
    if any(layer.mark == "words" for panel in figure.panels for layer in panel.layers):
        return WIDE, 5.2
    count = len(figure.panels)
    return (NARROW + 0.65, 2.9) if count == 1 else (WIDE, 3.1 if count == 2 else 2.5)


def _drawn(figure: Figure, limits: Limits) -> Canvas:
    canvas = Canvas(figsize=size_of(figure), layout="constrained")
    grid = canvas.subplots(1, len(figure.panels), squeeze=False)[0]
    for axes, panel in zip(grid, figure.panels, strict=True):
        _panel(axes, panel, limits)
    _legend(canvas, grid)
    FigureCanvasAgg(canvas)
    canvas.draw_without_rendering()  # fixes the layout, so that words can be measured
    for axes, panel in zip(grid, figure.panels, strict=True):
        label_words(axes, panel)
    return canvas


def _panel(axes: Axes, panel: Panel, limits: Limits) -> None:
    for layer in panel.layers:
        MARKS[layer.mark](axes, layer)
    axes.set(xlabel=panel.x, ylabel=panel.y, title=panel.title)
    axes.locator_params(nbins=6) if not _has_words(panel) else None
    if panel.share:
        axes.set(xlim=limits[panel.share][0], ylim=limits[panel.share][1])
    if panel.equal:
        axes.set_aspect("equal", adjustable="datalim")
    if not any(layer.mark == "heat" for layer in panel.layers):
        axes.grid(visible=True, color=INK, alpha=0.1, linewidth=0.5)
        axes.set_axisbelow(True)


def _has_words(panel: Panel) -> bool:
    return any(layer.mark == "bars" and layer.words for layer in panel.layers)


def _legend(canvas: Canvas, grid: NDArray[np.object_]) -> None:
    """One legend above all panels, each label once."""
    named = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    if named:
        columns = min(len(named), 3 if canvas.get_figwidth() < WIDE else 5)
        canvas.legend(named.values(), named, loc="outside upper center", ncols=columns)


_COLOURS = re.compile(r"#[0-9a-f]{6}")


def _themed(text: str, prefix: str) -> str:
    """The SVG element alone, in the page's colours, its names made its own."""
    from sdelens_plugins.reporters.marks import PALETTE, PAPER

    text = text[text.index("<svg") :]
    text = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"\b(font(-family)?: ?)([\d.]+px )?'DejaVu Sans'", r"\1\3var(--sans)", text)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(
        r' id="([^"]*)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", text
    )
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", text)
    page = {INK: "currentColor", PAPER: "var(--paper)"}
    page |= {colour: f"var(--series-{k})" for k, colour in enumerate(PALETTE)}
    return _COLOURS.sub(lambda match: page.get(match[0], match[0]), text)
