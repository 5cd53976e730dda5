"""Colours, fonts and line widths of all figures."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""The colours of Okabe and Ito, which remain distinct under all common colour blindness."""
DARK = ("#56b4e9", "#f0883e", "#2bc79b", "#e39ac4", "#f2c14e", "#8ecbf2")
"""The same hues, light enough for a dark page."""
INK = "#010203"
"""The colour of text and axes. No mark uses it, so it can be replaced in an SVG."""
PAPER = "#fefdfc"
"""The colour behind words. No mark uses it, so it can be replaced in an SVG."""
TEXT_SIZE, TITLE_SIZE = 8.5, 9.5
"""In points; on the narrowest column of a page, a point is slightly more than a pixel."""
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],  # ships with matplotlib, hence the same on every machine
    "font.size": TEXT_SIZE,
    "axes.titlesize": TITLE_SIZE,
    "axes.labelsize": TEXT_SIZE,
    "legend.fontsize": TEXT_SIZE,
    "xtick.labelsize": TEXT_SIZE,
    "ytick.labelsize": TEXT_SIZE,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.4,
    "text.parse_math": False,  # a token may contain dollar signs
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


@contextmanager
def figure_style() -> Iterator[None]:
    """Apply the style of sdelens; matplotlib's own settings are restored afterwards."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # words may be in any script: a glyph that the font lacks is drawn as a box
        warnings.filterwarnings("ignore", message="Glyph")
        warnings.filterwarnings("ignore", message=".*constrained_layout not applied")
        # a logarithmic axis of nothing positive is empty
        warnings.filterwarnings("ignore", message="Data has no positive values")
        yield
