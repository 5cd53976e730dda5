"""Text stays inside figures, is large enough and does not overlap."""

import pytest
import torch

from sdelens.report import Figure, Layer, Panel
from sdelens_plugins.reporters.figures.drawing import draw
from sdelens_plugins.reporters.figures.layout import is_wide
from sdelens_plugins.reporters.figures.legend import panels_with_legend
from sdelens_plugins.reporters.figures.ticks import logarithmic_ticks
from tests.plugins.reporters.figures.legibility import faults, faults_of
from tests.plugins.reporters.reports import every_mark, shared_axes

X = torch.arange(5.0)
LONG = "linear law's distance from the actual state less that of the fit, in latent units"


def bars(words, values=None):
    """Upright or horizontal bars with an interval."""
    y = torch.linspace(0.2, 1, len(words)) if values is None else values
    x = torch.arange(float(len(words)))
    return Layer("bars", {"x": x, "y": y, "low": y - 0.1, "high": y + 0.1}, words=tuple(words))


def lines(count, label="a law of the process {}"):
    """Lines with labels."""
    return tuple(
        Layer("line", {"x": X, "y": X + k}, label.format(k), k, dashed=k > 0) for k in range(count)
    )


PANELS = {
    "long labels": Panel(LONG, LONG, lines(1), LONG),
    "long labels below a legend": Panel(LONG, LONG, lines(5), LONG),
    "long legend": Panel("x", "y", lines(3, "a validation document, of those that were kept {}")),
    "bars with short labels": Panel("", LONG, (bars(["L00", "L01", "L02"]),), "Layers"),
    "bars with long labels": Panel("", LONG, (bars(["random walk with drift"] * 7),), "Gain"),
    "bars with very long labels": Panel(
        "", "y", (bars(["integrated gradients of the noise"] * 9),)
    ),
    "many bars": Panel("token", LONG, (bars([f"token{k}" for k in range(30)]),), "Norms"),
    "a map with words": Panel(
        "",
        "principal component",
        (
            Layer(
                "heat",
                {"x": torch.arange(60.0), "y": X, "z": torch.rand(5, 60)},
                LONG,
                words=tuple(f"word{k}" for k in range(60)),
            ),
        ),
    ),
    "words at the edge": Panel(
        "x",
        "y",
        (
            Layer("scatter", {"x": X, "y": X}),
            Layer("words", {"x": X, "y": X}, words=("However, and then",) * 5),
        ),
    ),
    "a wide range": Panel(
        "x", "KL", (Layer("line", {"x": X, "y": 10 ** (3 * X)}),), y_scale="log"
    ),
    "beyond a threshold": Panel("", "y", (bars(["a", "b"], 1e3 * X[1:3]),), y_scale="symlog"),
}


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_alone_and_in_a_row_is_legible(name):
    panel = PANELS[name]
    assert faults(Figure(name, (panel,), "")) == []
    assert faults(Figure(name, (panel, PANELS["long labels"], panel), "")) == []


@pytest.mark.parametrize("figure", [every_mark(), shared_axes()], ids=["marks", "shared"])
def test_figures_of_all_marks_are_legible(figure):
    assert faults(figure) == []


def test_faults_are_found():
    drawing = draw(Figure("f", (PANELS["long labels below a legend"],), ""))
    axes = drawing.subfigures[0].axes[0]
    axes.set_ylabel(LONG, fontsize=6)
    axes.set_xticks([1.0, 1.1], ["first", "second"])
    found = faults_of(drawing)
    assert {f"{LONG!r} is cut off", f"{LONG!r} is small"} <= set(found)
    assert "'first' overlaps 'second'" in found


def test_labels_of_bars_are_never_oblique():
    for words, across in ((["L00", "L01"], False), (["random walk with drift"] * 7, True)):
        axes = draw(Figure("f", (Panel("", "y", (bars(words),)),), "")).subfigures[0].axes[0]
        labels = axes.get_yticklabels() if across else axes.get_xticklabels()
        assert [label.get_text() for label in labels] == words
        assert {label.get_rotation() for label in labels} == {0}
        # the first is at the top, or on the left
        assert axes.yaxis_inverted() == across


def test_bars_that_share_limits_are_whole():
    few, many = bars(["a", "b"], torch.tensor([-2.0, 1])), bars(["c", "d", "e"])
    panels = tuple(Panel("", "y", (layer,), share="y") for layer in (few, many))
    for subfigure in draw(Figure("f", panels, "")).subfigures:
        axes = subfigure.axes[0]
        boxes = [bar.get_bbox() for bar in axes.patches]
        assert axes.get_xlim()[0] < min(box.x0 for box in boxes)
        assert axes.get_xlim()[1] > max(box.x1 for box in boxes)
        assert axes.get_ylim()[0] < -2


def test_panels_of_a_row_have_axes_of_one_height():
    panels = (Panel("x", "y", lines(5)), Panel("x", "y", lines(1), "title"))
    first, second = (s.axes[0].get_position() for s in draw(Figure("f", panels, "")).subfigures)
    assert (first.y0, first.y1) == pytest.approx((second.y0, second.y1))


def test_a_legend_is_drawn_once_and_a_single_label_beside_other_marks_is_explained():
    two, three = Panel("x", "y", lines(2)), Panel("x", "y", lines(3))
    dots = Layer("scatter", {"x": X, "y": X}, "nominal", 1)
    mixed = Panel("", "y", (bars(["a", "b"]), dots))
    assert panels_with_legend([three, two, mixed, mixed]) == [True, False, True, False]
    assert panels_with_legend([two, three, Panel("x", "y", lines(1))]) == [True, True, False]


@pytest.mark.parametrize("signed", [True, False])
def test_the_colours_of_a_map_do_not_depend_on_its_values(signed):
    maps = []
    for shift in (-9.0, 0.0, 9.0):
        z = torch.linspace(-1, 1, 15).view(3, 5) + shift
        heat = Layer("heat", {"x": X, "y": X[:3], "z": z}, signed=signed)
        axes = draw(Figure("f", (Panel("x", "y", (heat,)),), "")).subfigures[0].axes[0]
        maps.append(axes.collections[0])
    assert {each.get_cmap().name for each in maps} == {"RdBu_r" if signed else "cividis"}
    if signed:
        assert all(low == -high for low, high in (each.get_clim() for each in maps))


def test_later_marks_are_above_earlier_ones():
    layers = (*lines(1), Layer("arrows", {"x": X, "y": X, "u": X, "v": X}))
    for ordered, above in ((layers, True), (layers[::-1], False)):
        axes = draw(Figure("f", (Panel("x", "y", ordered),), "")).subfigures[0].axes[0]
        assert (axes.collections[0].get_zorder() > axes.lines[0].get_zorder()) == above


def test_only_many_words_take_the_width_of_a_page():
    words = Layer("words", {"x": X, "y": X}, words=("a",) * 5)
    assert not is_wide(Panel("x", "y", (words,)))
    assert is_wide(Panel("x", "y", (words,) * 3))


def test_ticks_of_logarithmic_axes_are_few():
    assert logarithmic_ticks(1e-6, 1e6, 7) == [1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6]
    assert logarithmic_ticks(-30.0, 30.0, 5) == [-10.0, -1.0, 0.0, 1.0, 10.0]
