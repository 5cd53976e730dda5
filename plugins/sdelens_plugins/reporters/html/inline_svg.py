"""Figures as part of a page: each panel an SVG element in the page's own colours and font."""

import re

from matplotlib.figure import Figure as Canvas
from matplotlib.figure import SubFigure

from sdelens.report import Figure
from sdelens_plugins.reporters.figures.drawing import drawing_of
from sdelens_plugins.reporters.figures.layout import svg_box
from sdelens_plugins.reporters.figures.style import INK, PALETTE, PAPER
from sdelens_plugins.reporters.html.hover import value_titles


def inline_panels(figure: Figure, *, prefix: str, hover: bool = True) -> tuple[str, ...]:
    """One SVG element for each panel, cut from the drawing of the figure, without background.

    Text and axes are ``currentColor``, series ``var(--series-k)``. `prefix` distinguishes the ids
    of this figure from those of others on the page. With `hover`, cells of maps have titles.
    """
    drawing = drawing_of(figure)
    canvas = drawing.canvas
    # no word looks like the beginning of a panel, since < is escaped in text
    _, *groups = re.split(r'(?=<g id="subfigure_\d+">)', drawing.raw_svg)
    last, clip_paths = groups[-1].removesuffix("</svg>\n").rsplit("</g>", 1)
    groups[-1] = last + clip_paths
    used = {name for tag in _TAG.findall(drawing.raw_svg) for name in _REFERENCE.findall(tag)}
    return tuple(
        f"{_svg_tag(canvas, subfigure)}{_themed(group, prefix, used)}"
        f"{value_titles(canvas, subfigure.axes[0], panel) if hover else ''}</svg>"
        for group, subfigure, panel in zip(
            groups, drawing.subfigures, drawing.figure.panels, strict=True
        )
    )


_TAG = re.compile(r"<[^>]*>")
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_REFERENCE = re.compile(r'(?:url\(#|href="#)([^)"]+)')
_PAGE_COLOURS = {INK: "currentColor", PAPER: "var(--paper)"} | {
    colour: f"var(--series-{k})" for k, colour in enumerate(PALETTE)
}


def _svg_tag(canvas: Canvas, subfigure: SubFigure) -> str:
    """An element that displays the part of the canvas that is the subfigure's."""
    left, top, right, bottom = svg_box(subfigure.bbox, canvas)
    width, height = right - left, bottom - top
    view = f"{left:.2f} {top:.2f} {width:.2f} {height:.2f}"
    return f'<svg width="{width:.2f}pt" height="{height:.2f}pt" viewBox="{view}" version="1.1">'


def _themed(text: str, prefix: str, used: set[str]) -> str:
    """SVG in the page's colours, with ids of its own.

    Only tags are rewritten: a word between them may look like a colour.
    """
    return _TAG.sub(lambda tag: _rewritten(tag[0], prefix, used), text)


def _rewritten(tag: str, prefix: str, used: set[str]) -> str:
    tag = tag.replace("xlink:href", "href")
    tag = re.sub(r"\b(font(?:-family)?: ?(?:[\d.]+px )?)'DejaVu Sans'", r"\1var(--sans)", tag)
    tag = re.sub(r' id="([^"]*)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", tag)
    tag = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", tag)
    return _COLOUR.sub(lambda match: _PAGE_COLOURS.get(match[0], match[0]), tag)
