"""The report in a real browser: what a reader sees, clicks, hovers over and prints."""

from pathlib import Path

import pytest
import torch

from sdelens.report import (
    Estimate,
    Figure,
    Finding,
    FirstScreen,
    Layer,
    Panel,
    Report,
    Strip,
    Table,
)
from sdelens.summary import Check
from sdelens_plugins.reporters.figures.csv_file import to_csv
from sdelens_plugins.reporters.html.reporter import HtmlReporter
from tests.plugins.reporters.html.browsing import AXE, CLIPPED, NO_CHROMIUM, OVERLAPS

pytestmark = NO_CHROMIUM
WIDTHS, THEMES = (400, 900, 1400), ("light", "dark")
WORDS = (
    "<script>alert(1)</script>",
    " the",
    "\n",
    '" onclick="x',
    " antidisestablishmentarianism",
) * 8
LONG = "a_very_long_name_without_any_place_to_break_" * 4


def everything():
    """A report with every mark, table and kind of text, some of it meant to break a page."""
    x = torch.arange(float(len(WORDS)))
    wave = (x / 3).sin()
    path = (
        Layer("band", {"x": x, "low": wave - 1, "high": wave + 1}, "interval", 1),
        Layer("line", {"x": x, "y": wave}, "mean", dashed=True),
    )
    heat = Layer("heat", {"x": x, "y": torch.arange(4.0), "z": 0.25 + wave.expand(4, -1)}, "nats")
    bars = Layer("bars", {"x": x[:4], "y": wave[:4]}, words=("alpha", "beta", "gamma", "delta"))
    words = Layer("words", {"x": wave, "y": (x / 5).cos()}, words=WORDS)
    figures = (
        Figure("lines", (Panel("position", "nats", path), Panel("", "nats", (bars,))), "Two."),
        Figure("heat", (Panel("position", "component", (heat,)),), "A map of values."),
        Figure("words", (Panel("PC 1", "PC 2", (words,)),), "Words in a plane."),
    )
    values = tuple(0.1 * k for k in range(len(WORDS)))
    finding = Finding(
        analyzer="everything",
        view="L06",
        headline=f"One sentence, and {LONG}.",
        reading="How to read it. " * 20,
        estimates=tuple(Estimate(f"estimate {k}", 0.1 * k, 0.02, "nats") for k in range(14)),
        figures=figures,
        strips=(
            Strip("diffusion", WORDS, values, "nats"),
            Strip("log scale", WORDS, tuple(v - 1.5 for v in values), "nats"),
        ),
        prompt="What is the capital of France?",
        question="Is it stable?",
    )
    few = Finding("L06", "Little.", "", (Estimate("one", 2.0),), analyzer="few")
    scores = Table(
        "Scores",
        ("mean", "nats per dimension", "gain"),
        (("linear", "1.30 ± 0.01", "0.05 ± 0.01"), ("neural", "1.25 ± 0.01", "")),
        "A note.",
        own=1,
        source="fits/L06/metrics.json",
    )
    return Report(
        title=LONG,
        subtitle="runs/demo",
        verdict=("It is a poor description of this state.", LONG),
        tables=(scores,),
        findings=(finding, few),
        places=("analysis/everything/L06", "analysis/few/L06"),
        failures={"another": "needs a model"},
        provenance={"model": LONG, "seed": "0"},
        first_screen=FirstScreen(
            "Half of the next step is drift. Not shown to be a diffusion.",
            (Check("beats linear", "yes", "+0.044"), Check("a diffusion", "unclear")),
            "51 held-out documents",
            picture=figures[0],
            gains=figures[0],
            strip=finding.strips[0],
        ),
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A report with every mark, table and kind of text."""
    return HtmlReporter().render(everything(), tmp_path_factory.mktemp("report"))


@pytest.fixture
def visit(program, file):
    """Open the report; whatever it asks for but itself is noted."""
    pages = []

    def visit(width=900, theme="light"):
        page = program.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(file.as_uri())
        pages.append(page)
        return page

    yield visit
    for page in pages:
        page.close()


def test_no_request_leaves_the_page(visit, file):
    page = visit()
    page.mouse.wheel(0, 10_000)
    page.wait_for_load_state("networkidle")
    assert page.asked == [file.as_uri()]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_overflows_or_overlaps(visit, width, theme):
    page = visit(width, theme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate(OVERLAPS) == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [400, 1400])
def test_axe_finds_nothing_to_complain_about(visit, width, theme):
    page = visit(width, theme)
    # through the protocol: the page's own policy allows no script
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found["violations"]] == []
    assert len(found["passes"]) > 10


def test_a_button_for_each_quantity_shows_its_colours_alone(visit):
    page = visit()
    views = page.locator("article .quantity")
    shown = [views.nth(k).is_visible() for k in range(views.count())]
    assert shown == [True, False]
    page.get_by_role("radio", name="log scale").check(force=True)
    assert [views.nth(k).is_visible() for k in range(views.count())] == [False, True]
    assert views.nth(1).locator(".tokens span").first.get_attribute("title") == "-1.5 nats"


def test_every_control_is_reached_by_tab(visit):
    page = visit()
    wanted = page.evaluate(
        """() => [...document.querySelectorAll("a[href], summary, input:checked, [tabindex='0']")]
             .filter(e => e.checkVisibility()).length"""
    )
    reached = set()
    for _ in range(wanted + 2):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.outerHTML.slice(0, 200)"))
    elements = page.evaluate(
        """() => [...document.querySelectorAll("a[href], summary, input:checked, [tabindex='0']")]
             .filter(e => e.checkVisibility()).map(e => e.outerHTML.slice(0, 200))"""
    )
    assert set(elements) <= reached
    # the arrows change the quantity from the keyboard
    page.locator("input[type=radio]").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("article .quantity").nth(1).is_visible()


def test_a_cell_of_a_heat_map_tells_its_exact_value_under_the_pointer(visit):
    page = visit()
    cell = page.locator("svg g[pointer-events=all] path").first
    title = cell.locator("title").text_content()
    assert title.endswith(": 0.25")
    cell.scroll_into_view_if_needed()
    box, picture = cell.bounding_box(), page.locator("svg:has(g[pointer-events=all])").first
    frame = picture.bounding_box()
    assert frame["x"] < box["x"] < frame["x"] + frame["width"]
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    under = page.evaluate("([x, y]) => document.elementFromPoint(x, y)?.textContent", middle)
    assert under == title


def test_it_prints_what_is_unfolded_and_selected(visit):
    page = visit(794)  # A4 at 96 dots an inch
    page.locator("details.numbers summary").first.click()
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 794
    assert page.evaluate(CLIPPED) == []
    assert page.locator("details.numbers table").first.bounding_box()["height"] > 100
    assert not page.locator("details.numbers").nth(1).is_visible()
    printed = [page.locator("article .quantity").nth(k).is_visible() for k in range(2)]
    assert printed == [True, False], "the selected quantity"
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_hostile_tokens_are_text(visit):
    page = visit()
    assert page.locator("script, img, iframe").count() == 0
    words = page.locator(".tokens").first.text_content()
    assert "<script>alert(1)</script>" in words


def test_every_number_is_in_the_page_or_leads_to_its_file(visit):
    page = visit()
    files = page.locator("code").evaluate_all("all => all.map(a => a.textContent)")
    assert "fits/L06/metrics.json" in files
    assert "analysis/everything/L06/finding.json" in files
    with page.expect_download() as download:
        page.locator("article figcaption a").first.click()
    assert download.value.suggested_filename == "everything-L06-115049a2-lines.csv"
    figure = everything().findings[0].figures[0]
    assert Path(download.value.path()).read_bytes() == to_csv(figure).encode("utf-8", "replace")


@pytest.mark.parametrize("width", [1400, 400])
def test_the_result_is_on_the_first_screen(visit, width):
    page = visit(width)
    for part in (".lead", ".checks", ".badge", ".picture"):
        box = page.locator(part).bounding_box()
        assert box["y"] + 100 < 900, part
    assert page.locator(".checks li").all_inner_texts()[0].startswith("✓beats linear")


def test_findings_are_listed_under_the_questions_they_answer(visit):
    page = visit(1400)
    questions = page.locator("h2.question").all_inner_texts()
    assert questions[:2] == ["Is it real?", "Is it stable?"]
    link = page.locator("nav").get_by_text("Is it stable?")
    link.click()
    section = page.locator(f"section{link.get_attribute('href')}")
    assert section.locator("article").count() == 1
