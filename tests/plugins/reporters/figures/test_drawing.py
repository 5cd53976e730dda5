"""Figures drawn by matplotlib."""

from base64 import b64decode
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
import torch
from matplotlib.figure import Figure as Canvas

from sdelens.report import Figure, Layer, Panel
from sdelens.wording import visible
from sdelens_plugins.reporters.figures.drawing import draw
from sdelens_plugins.reporters.figures.layout import rows_of
from sdelens_plugins.reporters.figures.marks import MARKS
from tests.plugins.reporters.reports import HOSTILE, Reader, every_mark, shared_axes


def test_a_figure_shows_itself_and_its_caption_in_a_notebook():
    figure = replace(shared_axes(), caption="Up to 3 < 4.")
    read = Reader(figure._repr_html_())
    assert read.text == ["Up to 3 < 4."]
    (drawing,) = (value for tag, name, value in read.attributes if (tag, name) == ("img", "src"))
    kind, _, data = drawing.partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert b64decode(data).decode() == figure.svg()


def test_svg_is_xml_the_same_twice_and_holds_its_words_as_text():
    figure = every_mark(words=HOSTILE[:5])
    first = draw(figure).svg
    assert first == draw(figure).svg
    words = {
        "".join(e.itertext()) for e in ElementTree.fromstring(first).iter() if "text" in e.tag
    }
    assert visible(HOSTILE[0]) in words
    assert "date" not in first.lower()


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(mpl.rcParams)
    draw(every_mark()).png(dpi=50)
    assert draw(every_mark()).svg
    assert dict(mpl.rcParams) == before


def test_a_figure_of_one_point_or_of_nothing_finite_is_drawn():
    one = torch.tensor([1.0])
    for y in (1.0, 0.0, -1.0, torch.nan, torch.inf):
        values = {"x": one, "y": one * y}
        layer = Layer("line", values, "alone")
        panel = Panel("t", "x", (layer, replace(layer, mark="scatter")), share="s")
        for scale in ("linear", "log", "symlog"):
            scaled = replace(panel, x_scale=scale, y_scale=scale)
            for drawn in (scaled, replace(scaled, share="")):
                assert draw(Figure("f", (drawn,), "c")).png(dpi=50).startswith(b"\x89PNG")


def test_bars_stand_on_their_base():
    values = {
        "x": torch.arange(2.0),
        "y": torch.tensor([0.3, -0.1]),
        "base": torch.tensor([0.5, 1]),
    }
    axes = Canvas().subplots()
    MARKS["bars"](axes, Layer("bars", values))
    assert [patch.get_y() for patch in axes.patches] == pytest.approx([0.5, 1.0])
    assert [patch.get_height() for patch in axes.patches] == pytest.approx([0.3, -0.1])


def test_two_panels_stand_in_a_row_and_many_words_have_a_row_of_their_own():
    line = Panel("t", "x", ())
    points = {"x": torch.arange(12.0), "y": torch.zeros(12)}
    words = Panel("t", "x", (Layer("words", points, words=("a",) * 12),))
    assert rows_of((line,) * 3) == [[0, 1], [2]]
    assert rows_of((line, words, line, line)) == [[0], [1], [2, 3]]
    drawing = draw(Figure("f", (words, line, line), ""))
    assert drawing.canvas.get_size_inches().tolist() == pytest.approx([7.0, 5.2 + 2.7])


def test_rows_of_a_map_that_are_counted_have_whole_ticks():
    rows = Layer("heat", {"x": torch.arange(9.0), "y": torch.arange(1.0, 4), "z": torch.eye(3, 9)})
    texts = ElementTree.fromstring(draw(Figure("f", (Panel("t", "layer", (rows,)),), "c")).svg)
    words = {"".join(e.itertext()) for e in texts.iter() if "text" in e.tag}
    assert {"1", "2", "3"} <= words
    assert not {"0.5", "1.5", "2.5", "3.5"} & words
