"""Panels of a figure as elements of a page."""

import re

from sdelens.wording import visible
from sdelens_plugins.reporters.figures.layout import shared_limits
from sdelens_plugins.reporters.html.inline_svg import inline_panels
from tests.plugins.reporters.reports import Reader, every_mark, shared_axes


def test_a_themed_panel_has_the_pages_colours_only():
    for text in inline_panels(shared_axes(), prefix="p"):
        assert not re.findall(r"#[0-9a-fA-F]{6}", text)
        assert "currentColor" in text
        assert "var(--series-0)" in text


def test_words_that_look_like_markup_are_left_alone():
    words = ("#0072b2", ' id="x"', 'href="#x"', "url(#x)", "'DejaVu Sans'")
    read = Reader("".join(inline_panels(every_mark(words=words), prefix="p")))
    assert {visible(word).strip("·") for word in words} <= set(read.text)


def test_panels_that_share_limits_have_the_same_ticks():
    ((name, ((left, right), _)),) = shared_limits(shared_axes()).items()
    assert name == "plane"
    assert left < 0 < 100 < right
    ticks = [
        re.findall(r">(\d+)</text>", text) for text in inline_panels(shared_axes(), prefix="p")
    ]
    assert ticks[0] == ticks[1]
    assert "100" in ticks[0]
