"""Pictures, tables and pages, read back by parsers that know nothing of who wrote them."""

import csv
import io
import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure as Canvas
from PIL import Image

from sdelens.protocols import Reporter
from sdelens.report import Estimate, Figure, Finding, Layer, Panel, Report, Strip, Table, visible
from sdelens.seeds import generator
from sdelens_plugins.reporters.drawing import png, shared_limits, svg
from sdelens_plugins.reporters.figures import FiguresReporter, table
from sdelens_plugins.reporters.html import HtmlReporter, page
from sdelens_plugins.reporters.labels import overlap, placed
from sdelens_plugins.reporters.marks import MARKS
from sdelens_plugins.reporters.strips import Coloured
from sdelens_plugins.reporters.themed import themed_panels

HOSTILE = (
    "<script>alert(1)</script>",
    "</title></style><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "{{ 7 * 7 }}{% raw %}",
    "$x^$ \\frac",
    "\x00\x1b\ud800",
    "日本語 🙂 \u202e",
    "]]>",
)
VOID = {"meta", "br", "wbr", "img", "hr", "input", "link"}


def drawn(*, words=()):
    """Every mark in one figure."""
    random = generator(0)
    x = torch.arange(5.0)
    y, u, v = torch.randn(3, 5, generator=random)
    words = words or ("a", " b", "\n", "d", "e")
    path = (
        Layer("band", {"x": x, "low": y - 1, "high": y + 1}, "interval", 1),
        Layer("line", {"x": x, "y": y}, "mean", dashed=True),
        Layer("scatter", {"x": x, "y": y}, words[0]),
        Layer("words", {"x": x, "y": y}, words=words),
    )
    rest = (
        Layer("arrows", {"x": x, "y": y, "u": u, "v": v}, "drift", 2),
        Layer("bars", {"x": x, "y": y, "low": y - 1, "high": y + 1}, words=words),
    )
    z = torch.randn(3, 5, generator=random)
    heat = (Layer("heat", {"x": x, "y": torch.arange(3.0), "z": z}, "nats"),)
    panels = (
        Panel("position", words[1], path, words[2], share="all"),
        Panel("x", "y", rest, share="all"),
        Panel("position", "layer", heat, "heat"),
    )
    return Figure("every mark", panels, f"Caption {words[0]}")


def lines(*, words=()):
    """A figure of two panels that share their limits."""
    far = torch.tensor([0.0, 100.0])
    near = torch.tensor([0.0, 1.0])
    panels = tuple(
        Panel("t", "x", (Layer("line", {"x": t, "y": t}, name),), name, share="plane")
        for name, t in (("far", far), ("near", near))
    )
    return Figure("lines", panels, "Two lines.")


def report(text, figures=()):
    """A report that says `text` wherever one can."""
    finding = Finding(
        analyzer="losses",
        view="L02",
        headline=text,
        reading=text,
        estimates=(Estimate(text, 0.1, 0.02, text), Estimate("no error", 1.0)),
        figures=figures,
        strips=(Strip(text, (text, "\n", " a"), (0.5, -1.0, float("nan")), text),),
        prompt=text,
    )
    return Report(
        title=text,
        verdict=(text,),
        tables=(Table(text, ("mean", text), ((text, text),), text),),
        findings=(finding, finding),
        failures={text: text},
        provenance={text: text},
    )


class Reader(HTMLParser):
    """Tags, attributes and text; an error where tags do not close as they opened."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend((tag, *pair) for pair in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend((tag, *pair) for pair in attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_both_fulfil_the_reporter_protocol():
    assert isinstance(FiguresReporter(), Reporter)
    assert isinstance(HtmlReporter(), Reporter)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.text())
@example(HOSTILE[0])
@example(HOSTILE[1])
@example(HOSTILE[2])
@example(HOSTILE[3])
@example(HOSTILE[5])
@example(HOSTILE[6])
def test_no_text_changes_the_structure_of_the_page(text):
    plain, told = Reader(page(report("x"))), Reader(page(report(text)))
    without = [tag for tag in told.tags if tag != "br"]
    assert "script" not in told.tags
    if text:  # an empty prompt is none
        assert without == [tag for tag in plain.tags if tag != "br"]
        names = [name for _, name, _ in plain.attributes]
        assert [name for _, name, _ in told.attributes] == names
    shown = visible(text) or "∅"
    assert shown in told.text


def test_hostile_words_in_figures_stay_words(tmp_path):
    figure = drawn(words=HOSTILE[:5])
    place = HtmlReporter().render(report("x", (figure,)), tmp_path)
    read = Reader(place.read_text(encoding="utf-8"))
    assert place == tmp_path / "report.html"
    assert not {"script", "img", "iframe", "link", "object"} & set(read.tags)
    assert not [name for _, name, _ in read.attributes if name.startswith("on")]
    assert HOSTILE[4].replace(" ", "·") in read.text
    assert "7 * 7" in "".join(read.text).replace("·", " ")


def test_the_page_needs_nothing_from_elsewhere(tmp_path):
    text = page(report("x", (drawn(), lines())))
    read = Reader(text)
    for _, name, value in read.attributes:
        if name in ("src", "href", "xlink:href", "action", "data"):
            assert value.startswith(("#", "data:image/png;base64,")), (name, value)
    assert "http" not in text.replace("http-equiv", "")
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert "default-src 'none'" in text


def test_a_finding_shows_itself_in_a_notebook():
    finding = Finding("L02", 'He said "<b>".', "", figures=(lines(),), analyzer="losses")
    shown = finding._repr_html_()
    read = Reader(shown)
    [frame] = [
        value for tag, name, value in read.attributes if (tag, name) == ("iframe", "srcdoc")
    ]
    inside = Reader(frame)  # escaped once for the attribute, once for the page
    assert 'He said "<b>".' in "".join(inside.text)
    assert "b" not in inside.tags
    assert "svg" in inside.tags


def test_a_figure_shows_itself_and_its_caption_in_a_notebook():
    figure = replace(lines(), caption="Up to 3 < 4.")
    read = Reader(figure._repr_html_())
    assert read.text == ["Up to 3 < 4."]
    (drawing,) = (value for tag, name, value in read.attributes if (tag, name) == ("img", "src"))
    kind, _, data = drawing.partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert b64decode(data).decode() == figure.svg()


def test_a_finding_by_itself_has_its_headline_and_no_head_of_a_report():
    finding = Finding("L02", "It fell.", "", figures=(lines(),), analyzer="losses")
    alone = Reader(page(Report("losses", (), findings=(finding,))))
    several = Reader(page(Report("losses", (), findings=(finding, finding))))
    assert "It fell." in alone.text
    assert not {"header", "nav"} & set(alone.tags)
    assert {"header", "nav"} <= set(several.tags)


def test_the_page_has_landmarks_and_every_name_once():
    read = Reader(page(report("x", (drawn(), lines()))))
    assert {"header", "nav", "main", "article", "section", "footer", "h1"} <= set(read.tags)
    names = [value for _, name, value in read.attributes if name == "id"]
    assert len(names) == len(set(names))
    links = [v[1:] for _, n, v in read.attributes if n in ("href", "xlink:href") and v[0] == "#"]
    assert set(links) <= set(names)
    uses = [value for _, name, value in read.attributes if name == "clip-path"]
    assert {use[5:-1] for use in uses} <= set(names)
    assert sum(name == "role" and value == "img" for _, name, value in read.attributes) == 10


def test_numbers_come_with_errors_and_units():
    finding = Finding("L02", "h", "r", (Estimate("gain", 0.07123, 0.0123, "nats"),))
    read = Reader(page(Report("t", ("v",), findings=(finding,))))
    assert {"gain", "0.071 ± 0.012", "nats"} <= set(read.text)


def test_the_fits_own_row_stands_out_and_every_cell_names_its_column():
    rows = (("random walk", "1.6"), ("neural (the fit)", "1.1"))
    read = Reader(page(Report("t", ("v",), (Table("s", ("mean", "constant"), rows, own=1),))))
    assert [value for tag, _, value in read.attributes if (tag, value) == ("tr", "own")] == ["own"]
    assert [value for _, name, value in read.attributes if name == "data-of"] == ["constant"] * 2
    plain = Reader(page(Report("t", ("v",), (Table("s", ("mean", "constant"), rows),))))
    assert ("tr", "class", "own") not in plain.attributes


def test_the_runs_name_stands_below_the_title():
    read = Reader(page(Report("tiny, layer 6: neural SDE", ("v",), subtitle="tiny-L6-0123abcd")))
    assert read.text.index("tiny-L6-0123abcd") > read.text.index("tiny, layer 6: neural SDE")
    assert ("p", "class", "run") in read.attributes


def test_a_themed_panel_has_the_pages_colours_only():
    for text in themed_panels(lines(), prefix="p"):
        assert not re.findall(r"#[0-9a-fA-F]{6}", text)
        assert "currentColor" in text
        assert "var(--series-0)" in text


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
