"""Measures text, so that labels are wrapped and legends arranged before anything is drawn."""

from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from sdelens_plugins.reporters.figures.style import STYLE, TEXT_SIZE, figure_style

LINE = 1.2 * TEXT_SIZE
"""The height of a line of text, in points."""


@lru_cache(maxsize=4096)
def text_width(text: str, size: float = TEXT_SIZE) -> float:
    """The width of the longest line of a text, in points."""
    font = FontProperties(family=STYLE["font.family"], size=size)
    with figure_style():
        return max(
            text_to_path.get_text_width_height_descent(line, font, ismath=False)[0]
            for line in text.split("\n")
        )


def wrapped(text: str, width: float, size: float = TEXT_SIZE) -> str:
    """The text with line breaks at spaces, so that lines are no wider than `width` in points.

    A single word may be wider.

    >>> wrapped("a linear law", 1000.0)
    'a linear law'
    """
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
