"""The page of a report, read back by a parser."""

import re

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sdelens.report import Estimate, Finding, Report, Table
from sdelens.wording import visible
from sdelens_plugins.reporters.html.page import page
from sdelens_plugins.reporters.html.reporter import HtmlReporter
from tests.plugins.reporters.reports import HOSTILE, Reader, every_mark, report, shared_axes


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
    figure = every_mark(words=HOSTILE[:5])
    place = HtmlReporter().render(report("x", (figure,)), tmp_path)
    read = Reader(place.read_text(encoding="utf-8"))
    assert place == tmp_path / "report.html"
    assert not {"script", "img", "iframe", "link", "object"} & set(read.tags)
    assert not [name for _, name, _ in read.attributes if name.startswith("on")]
    assert HOSTILE[4].replace(" ", "·") in read.text
    assert "7 * 7" in "".join(read.text).replace("·", " ")


def test_the_page_needs_nothing_from_elsewhere(tmp_path):
    text = page(report("x", (every_mark(), shared_axes())))
    read = Reader(text)
    for _, name, value in read.attributes:
        if name in ("src", "href", "xlink:href", "action", "data"):
            assert value.startswith(("#", "data:image/png;base64,", "data:text/csv;")), value
    assert "http" not in text.replace("http-equiv", "")
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert "default-src 'none'" in text


def test_a_finding_shows_itself_in_a_notebook():
    finding = Finding("L02", 'He said "<b>".', "", figures=(shared_axes(),), analyzer="losses")
    shown = finding._repr_html_()
    read = Reader(shown)
    [frame] = [
        value for tag, name, value in read.attributes if (tag, name) == ("iframe", "srcdoc")
    ]
    inside = Reader(frame)  # escaped once for the attribute, once for the page
    assert 'He said "<b>".' in "".join(inside.text)
    assert "b" not in inside.tags
    assert "svg" in inside.tags


def test_a_finding_by_itself_has_its_headline_and_no_head_of_a_report():
    finding = Finding("L02", "It fell.", "", figures=(shared_axes(),), analyzer="losses")
    alone = Reader(page(Report("losses", (), findings=(finding,))))
    several = Reader(page(Report("losses", (), findings=(finding, finding))))
    assert "It fell." in alone.text
    assert not {"header", "nav"} & set(alone.tags)
    assert {"header", "nav"} <= set(several.tags)


def test_the_page_has_landmarks_and_every_name_once():
    read = Reader(page(report("x", (every_mark(), shared_axes()))))
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
