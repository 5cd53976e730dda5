"""Figures as pictures, drawings and numbers."""

import csv
import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure as Canvas
from PIL import Image

from sdelens.report import Figure, Finding, Layer, Panel, Report, Strip, visible
from sdelens_plugins.reporters.drawing import png, shared_limits, svg
from sdelens_plugins.reporters.figures import FiguresReporter, table
from sdelens_plugins.reporters.labels import overlap, placed
from sdelens_plugins.reporters.marks import MARKS
from sdelens_plugins.reporters.strips import Coloured
from sdelens_plugins.reporters.themed import themed_panels
from tests.plugins.reporters.written import HOSTILE, Reader, drawn, lines


def test_words_that_look_like_markup_are_left_alone():
    words = ("#0072b2", ' id="x"', 'href="#x"', "url(#x)", "'DejaVu Sans'")
    read = Reader("".join(themed_panels(drawn(words=words), prefix="p")))
    assert {visible(word).strip("·") for word in words} <= set(read.text)


def test_panels_that_share_limits_have_the_same_ticks():
    ((name, ((left, right), _)),) = shared_limits(lines()).items()
    assert name == "plane"
    assert left < 0 < 100 < right
    ticks = [re.findall(r">(\d+)</text>", text) for text in themed_panels(lines(), prefix="p")]
    assert ticks[0] == ticks[1]
    assert "100" in ticks[0]


def test_svg_is_xml_the_same_twice_and_holds_its_words_as_text():
    figure = drawn(words=HOSTILE[:5])
    first = svg(figure)
    assert first == svg(figure)
    words = {
        "".join(e.itertext()) for e in ElementTree.fromstring(first).iter() if "text" in e.tag
    }
    assert visible(HOSTILE[0]) in words
    assert "date" not in first.lower()


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(mpl.rcParams)
    png(drawn(), dpi=50)
    svg(drawn())
    assert dict(mpl.rcParams) == before


def test_every_figure_is_written_three_times(tmp_path):
    finding = Finding("L02", "h", "r", figures=(drawn(), lines()), prompt="p", analyzer="../up")
    place = FiguresReporter().render(Report("t", (), findings=(finding,)), tmp_path)
    assert place == tmp_path / "figures"
    files = sorted(place.iterdir())
    assert sorted(f.suffix for f in files) == [".csv", ".csv", ".png", ".png", ".svg", ".svg"]
    assert list(tmp_path.rglob("*.png")) == [f for f in files if f.suffix == ".png"]
    image = Image.open(next(f for f in files if f.name.endswith("lines.png")))
    assert image.size[0] == 7 * 200
    assert image.getpixel((0, 0))[:3] == (255, 255, 255)


def test_csv_holds_every_number_drawn():
    figure = drawn()
    rows = list(csv.DictReader(io.StringIO(table(figure))))
    line = [row for row in rows if row["mark"] == "line"]
    assert torch.equal(
        torch.tensor([float(row["y"]) for row in line]), figure.panels[0].layers[1].values["y"]
    )
    assert [row["word"] for row in rows if row["mark"] == "words"] == ["a", " b", "\n", "d", "e"]
    heat = figure.panels[2].layers[0].values["z"]
    for row in rows:
        if row["mark"] == "heat":
            assert float(row["z"]) == float(heat[int(float(row["y"])), int(float(row["x"]))])
    assert sum(row["mark"] == "heat" for row in rows) == 15


def test_words_overlap_less_than_where_they_would_stand():
    random = np.random.default_rng(0)
    points = random.uniform(0, 200, (40, 2))
    sizes = [(25.0, 8.0)] * 40
    half = np.array([12.5, 4.0])
    naive = np.concatenate([points - half, points + half], axis=1)

    def covered(boxes):
        return overlap(boxes, boxes).sum() - np.trace(overlap(boxes, boxes))

    boxes = placed(points, sizes)
    assert covered(boxes) < 0.1 * covered(naive)
    assert np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - points).max() < 60


def test_a_single_word_stands_next_to_its_point():
    (box,) = placed(np.array([[10.0, 10.0]]), [(20.0, 8.0)])
    assert overlap(box[None], np.array([[9.0, 9.0, 11.0, 11.0]])).sum() == 0


@pytest.mark.parametrize(
    ("values", "signed", "ends"),
    [
        ((-1.0, 0.5), True, (-1.0, 1.0)),
        ((0.25, 0.5), False, (0.25, 0.5)),
        ((float("nan"),), False, (0.0, 0.0)),
        ((), False, (0.0, 0.0)),
    ],
)
def test_a_strips_scale_is_two_sided_where_its_values_are(values, signed, ends):
    coloured = Coloured(Strip("s", ("t",) * len(values), values))
    assert coloured.signed is signed
    assert coloured.ends == ends
    assert all(0 <= float(cell.strength) <= 1 for cell in coloured.cells)


def test_strips_of_one_scale_have_colours_that_compare():
    low, high = (
        [cell.strength for cell in Coloured(Strip("s", ("t",), (value,), "", (0.0, 4.0))).cells]
        for value in (1.0, 4.0)
    )
    assert low == ["0.250"]
    assert high == ["1.000"]


def test_a_figure_of_one_point_or_of_nothing_finite_is_drawn():
    one = torch.tensor([1.0])
    for values in ({"x": one, "y": one}, {"x": one, "y": one * torch.nan}):
        layer = Layer("line", values, "alone")
        panel = Panel("t", "x", (layer, replace(layer, mark="scatter")), share="s")
        assert png(Figure("f", (panel,), "c"), dpi=50).startswith(b"\x89PNG")


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
