"""Figures as part of a page: no background, and the page's own colours and font."""

import re
from dataclasses import replace

from sdelens.report import Figure
from sdelens_plugins.reporters.drawing import rendered, shared_limits
from sdelens_plugins.reporters.marks import INK, PALETTE, PAPER


def themed_panels(figure: Figure, *, prefix: str) -> tuple[str, ...]:
    """One SVG element for each panel, to stand in a page: no background, the page's own colours.

    Text and axes are ``currentColor``, series ``var(--series-k)``. `prefix` keeps the names that
    an element refers to apart from those of others on the page.
    """
    limits = shared_limits(figure)
    alone = (replace(figure, panels=(panel,)) for panel in figure.panels)
    drawn = (rendered(single, limits, titles=True, transparent=True) for single in alone)
    return tuple(_themed(text, f"{prefix}-{number}-") for number, text in enumerate(drawn))


_TAG = re.compile(r"<[^>]*>")
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_NAMED = re.compile(r'(?:url\(#|href="#)([^)"]+)')
_PAGE = {INK: "currentColor", PAPER: "var(--paper)"} | {
    colour: f"var(--series-{k})" for k, colour in enumerate(PALETTE)
}


def _themed(text: str, prefix: str) -> str:
    """The SVG element alone, in the page's colours, its names made its own.

    Tags are rewritten and nothing between them, where a word may look like a colour.
    """
    text = re.sub(r"<style[^>]*>.*?</style>", "", text[text.index("<svg") :], flags=re.DOTALL)
    used = {name for tag in _TAG.findall(text) for name in _NAMED.findall(tag)}
    return _TAG.sub(lambda tag: _rewritten(tag[0], prefix, used), text)


def _rewritten(tag: str, prefix: str, used: set[str]) -> str:
    tag = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", tag).replace("xlink:href", "href")
    tag = re.sub(r"\b(font(?:-family)?: ?(?:[\d.]+px )?)'DejaVu Sans'", r"\1var(--sans)", tag)
    tag = re.sub(r' id="([^"]*)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", tag)
    tag = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", tag)
    return _COLOUR.sub(lambda match: _PAGE.get(match[0], match[0]), tag)
