"""A figure as CSV, and back."""

import csv
import io

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sdelens.report import Figure, Layer, Panel
from sdelens_plugins.reporters.figures.csv_file import COLUMNS, from_csv, to_csv
from sdelens_plugins.reporters.figures.drawing import draw
from tests.plugins.reporters.reports import HOSTILE, every_mark

NUMBERS = st.floats(width=32)
TEXTS = st.text()
SCALES = st.sampled_from(("linear", "log", "symlog"))


@st.composite
def layers(choose):
    """Any layer: every mark with any of its roles, any numbers and words."""
    mark = choose(st.sampled_from(("line", "band", "scatter", "arrows", "bars", "heat", "words")))
    count, height = choose(st.integers(0, 4)), choose(st.integers(1, 3))
    if mark == "heat":
        count = max(count, 1)
        sizes = {"x": count, "y": height, "z": count * height}
    else:
        roles = {"band": ("low", "high"), "arrows": ("y", "u", "v")}.get(mark, ("y",))
        more = choose(st.sets(st.sampled_from(("base", "low", "high")))) if mark == "bars" else ()
        sizes = dict.fromkeys(("x", *roles, *more), count)
    values = {
        role: torch.tensor(choose(st.lists(NUMBERS, min_size=n, max_size=n)), dtype=torch.float32)
        for role, n in sizes.items()
    }
    if mark == "heat":
        values["z"] = values["z"].reshape(height, count)
    labelled = choose(st.booleans()) and count > 0
    words = choose(st.lists(TEXTS, min_size=count, max_size=count)) if labelled else ()
    return Layer(
        mark=mark,
        values=values,
        label=choose(TEXTS),
        series=choose(st.integers(0, 9)),
        dashed=choose(st.booleans()),
        words=tuple(words) if any(words) else (),
        signed=choose(st.booleans()),
    )


PANELS = st.builds(
    Panel,
    x=TEXTS,
    y=TEXTS,
    layers=st.lists(layers(), max_size=3).map(tuple),
    title=TEXTS,
    equal=st.booleans(),
    share=TEXTS,
    x_scale=SCALES,
    y_scale=SCALES,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(PANELS, min_size=1, max_size=3).map(tuple))
@example(every_mark(words=HOSTILE[:5]).panels)
def test_a_figure_read_back_from_its_csv_is_the_same(panels):
    read = from_csv(to_csv(Figure("f", panels, "c")), name="f", caption="c")
    assert len(read.panels) == len(panels)
    for one, other in zip(read.panels, panels, strict=True):
        for name in ("x", "y", "title", "equal", "share", "x_scale", "y_scale"):
            assert getattr(one, name) == getattr(other, name)
        assert len(one.layers) == len(other.layers)
        for mine, theirs in zip(one.layers, other.layers, strict=True):
            for name in ("mark", "label", "series", "dashed", "words", "signed"):
                assert getattr(mine, name) == getattr(theirs, name)
            filled = {role: v for role, v in theirs.values.items() if len(v)}
            assert mine.values.keys() == filled.keys()
            for role, values in filled.items():
                found = mine.values[role]
                assert found.shape == values.shape
                assert torch.equal(found.nan_to_num(7.5), values.double().nan_to_num(7.5))


def test_a_figure_read_back_from_its_csv_is_drawn_the_same():
    base = {"x": torch.arange(3.0), "y": torch.rand(3), "base": torch.rand(3)}
    stacked = Panel("layer", "share", (Layer("bars", base, "drift", 3),), equal=True)
    figure = every_mark(words=HOSTILE[:5])
    figure = Figure("f", (*figure.panels, stacked), "c")
    assert draw(from_csv(to_csv(figure))).svg == draw(figure).svg


def test_csv_has_a_row_for_each_point_and_a_column_for_each_role():
    figure = every_mark()
    rows = list(csv.DictReader(io.StringIO(to_csv(figure), newline="")))
    assert tuple(rows[0]) == COLUMNS
    line = [float(row["y"]) for row in rows if row["mark"] == "line"]
    assert torch.equal(torch.tensor(line), figure.panels[0].layers[1].values["y"])
    assert [row["word"] for row in rows if row["mark"] == "words"] == ["a", " b", "\n", "d", "e"]
    heat = figure.panels[2].layers[0].values["z"]
    cells = [row for row in rows if row["mark"] == "heat"]
    assert len(cells) == 15
    for cell in cells:
        assert float(cell["z"]) == float(heat[int(cell["row"]), int(cell["point"])])


FORMULAS = ("=1+1", "+cmd|x", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1", "＝1")  # noqa: RUF001


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_a_spreadsheet_would_execute_has_an_apostrophe(text):
    layer = Layer("scatter", {"x": torch.zeros(1), "y": torch.zeros(1)}, label=text, words=(text,))
    figure = Figure("f", (Panel(text, text, (layer,), title=text),), "")
    written = to_csv(figure)
    cells = [cell for row in csv.reader(io.StringIO(written, newline="")) for cell in row]
    assert cells.count(f"'{text}") == 5
    assert text not in cells
    again = from_csv(written)
    assert again.panels[0].title == text
    assert again.panels[0].layers[0].words == (text,)


def test_numbers_remain_numbers_and_other_texts_as_they_are():
    words = ("-0.5", "+3e-7", "'s", "a=b", "-")
    numbers = torch.tensor([-0.5, 1.0, -2e-7, -torch.inf, 0.0])
    layer = Layer("scatter", {"x": numbers, "y": numbers}, words=words)
    rows = list(csv.DictReader(io.StringIO(to_csv(Figure("f", (Panel("x", "y", (layer,)),), "")))))
    assert [row["word"] for row in rows] == [*words[:-1], "'-"]
    assert [float(row["x"]) for row in rows] == numbers.tolist()
