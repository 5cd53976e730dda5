"""The interactive views in a real browser: by key, by pointer, without scripts, and in print."""

import re

import pytest

from sdelens.report import Report
from sdelens_plugins.reporters.html.page import page as page_of
from sdelens_plugins.reporters.html.reporter import HtmlReporter
from tests.plugins.reporters.html.browsing import AXE, CLIPPED, NO_CHROMIUM, OVERLAPS
from tests.plugins.reporters.html.views import TOKENS, report

pytestmark = NO_CHROMIUM
TOKEN = '.explorer [role="option"]'


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A report on three layers, and one on a single layer."""
    folder = tmp_path_factory.mktemp("views")
    made = {"layers": report(), "layer": report(("L10",))}
    return {name: HtmlReporter().render(each, folder / name) for name, each in made.items()}


@pytest.fixture
def visit(program, files):
    """Open a report; errors and dialogs of its scripts are noted."""
    pages = []

    def visit(name="layers", width=1400, theme="light", **options):
        size = {"width": width, "height": 900}
        page = program.new_page(viewport=size, color_scheme=theme, **options)
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("console", lambda message: page.faults.append(message.text))
        page.on("dialog", lambda dialog: page.faults.append(dialog.message))
        page.on("request", lambda request: page.faults.append(request.url))
        page.goto(files[name].as_uri())
        page.faults.remove(files[name].as_uri())
        pages.append(page)
        return page

    yield visit
    for page in pages:
        assert page.faults == []
        page.close()


def plane(page):
    """Where the selected state and the next one are drawn."""
    return [
        tuple(page.locator(f".plane .selection .{name}").get_attribute(c) for c in ("cx", "cy"))
        for name in ("now", "next")
    ]


def pages(page):
    """The number of printed pages."""
    return len(re.findall(rb"/Type\s*/Page[^s]", page.pdf(format="A4")))


def marked(page):
    """The numbers of the tokens, and of the states in the plane, that are marked."""
    return [
        page.locator(f"{part}.marked").evaluate_all("all => all.map(e => Number(e.dataset.at))")
        for part in (TOKEN, ".plane .dot")
    ]


def test_selecting_a_token_by_click_and_by_key_moves_the_plane_and_the_numbers(visit):
    page = visit()
    first = plane(page)
    page.locator(TOKEN).nth(9).click()
    ninth = plane(page)
    assert first != ninth
    assert page.locator(".one strong").text_content() == "·cat2"
    assert "raises “word9”" in page.locator(".one").text_content()
    page.keyboard.press("ArrowRight")
    assert plane(page)[0] == ninth[1], "the next state is selected now"
    assert page.locator(f"{TOKEN}:focus").get_attribute("data-at") == "10"
    page.keyboard.press("ArrowLeft")
    assert plane(page) == ninth
    page.keyboard.press("Home")
    assert plane(page) == first
    page.keyboard.press("End")
    assert page.locator(".plane .selection .next").count() == 0
    assert "The text ends here." in page.locator(".one").text_content()


def test_a_state_is_selected_in_the_plane(visit):
    page = visit()
    page.locator(".plane .dot").nth(30).click(force=True)
    assert page.locator(f'{TOKEN}[aria-selected="true"]').get_attribute("data-at") == "30"


def test_a_layer_and_a_quantity_are_chosen(visit):
    page = visit()
    before, colours = plane(page), page.locator(TOKEN).nth(3).get_attribute("style")
    page.locator("[data-part=view]").select_option("L10")
    assert plane(page) != before
    assert page.locator(TOKEN).nth(3).get_attribute("style") != colours
    page.locator("[data-part=quantity]").select_option("entropy")
    assert page.locator(TOKEN).nth(5).get_attribute("class") == "below", "-0.5 nats"
    assert page.locator(TOKEN).nth(35).get_attribute("class") == "none", "not among the thirty"
    assert "entropy" in page.locator(".status").text_content()


def test_the_prediction_is_compared_with_the_next_state(visit):
    page = visit()
    page.locator(TOKEN).nth(2).click()
    assert "inside the 50% region" in page.locator(".one").text_content()
    page.locator(TOKEN).nth(38).click()  # 5% of 39 is two units off: about two deviations
    assert "90% region" in page.locator(".one").text_content()


def test_brushing_the_map_marks_tokens_and_states(visit):
    page = visit()
    box = page.locator("[data-part=map]").bounding_box()
    cell = box["width"] / len(TOKENS), box["height"] / 3
    page.mouse.move(box["x"] + 4.5 * cell[0], box["y"] + 0.5 * cell[1])
    page.mouse.down()
    page.mouse.move(box["x"] + 7.5 * cell[0], box["y"] + 1.5 * cell[1])
    page.mouse.up()
    assert marked(page) == [[4, 5, 6, 7], [4, 5, 6, 7]]
    status = page.locator(".status").text_content()
    # columns 4, 5, 6, 7 have 4, 5, 6, 0 in one layer and ten more in the other
    assert "4 tokens marked from 5 to 8, embed and L02: mean 8.75" in status
    page.locator("[data-part=map]").press("Escape")
    assert marked(page) == [[], []]


def test_the_text_scrolls_to_a_token_selected_elsewhere_and_the_page_does_not(visit):
    page = visit()
    box = page.locator("[data-part=map]").bounding_box()
    before = page.evaluate("scrollY")
    page.mouse.click(box["x"] + box["width"] - 2, box["y"] + 2)
    text, token = (
        page.locator(part).bounding_box()
        for part in ("[data-part=tokens]", f'{TOKEN}[aria-selected="true"]')
    )
    assert text["y"] <= token["y"] <= text["y"] + text["height"] - token["height"]
    assert page.evaluate("scrollY") == before


def test_brushing_by_key(visit):
    page = visit()
    page.locator(TOKEN).nth(4).click()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    assert marked(page) == [[4, 5, 6, 7]] * 2
    page.keyboard.press("Shift+ArrowDown")
    assert "embed and L02" in page.locator(".status").text_content()
    page.locator("[data-part=map]").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("[data-part=view]").input_value() == "L10"
    assert marked(page) == [[], []]


def test_a_touch_selects_a_token_and_brushes_the_map(visit):
    page = visit(width=400, has_touch=True)
    page.locator(TOKEN).nth(6).tap()
    assert page.locator(f'{TOKEN}[aria-selected="true"]').get_attribute("data-at") == "6"
    page.locator("[data-part=map]").tap(position={"x": 2, "y": 2})
    assert page.locator(f'{TOKEN}[aria-selected="true"]').get_attribute("data-at") == "0"


def test_one_layer_has_a_map_by_quantity(visit):
    page = visit("layer")
    assert page.locator(".map li").all_inner_texts() == ["surprise", "entropy"]
    assert page.locator("[data-part=view]").is_hidden()
    page.locator("[data-part=map]").press("ArrowDown")
    assert page.locator("[data-part=quantity]").input_value() == "entropy"


def test_the_slider_changes_the_text_and_the_effect(visit):
    page = visit()
    slider = page.get_by_role("slider", name="Dose of the drift")
    assert slider.get_attribute("aria-valuetext") == "drift 1"
    slider.press("ArrowRight")
    shown = page.locator(".dose:visible")
    assert shown.count() == 1
    assert shown.locator(".tokens").all_inner_texts() == ["·fit2<b>", "·control2<b>"]
    assert "0.200 ± 0.010 nats" in shown.text_content()
    assert "0.400 ± 0.010 nats" in shown.text_content()
    assert page.locator("output").text_content() == "drift 2"
    assert "Continuations of “<i>Once”" in page.locator(".doses figcaption").text_content()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_overflows_or_overlaps_and_axe_finds_nothing(visit, width, theme):
    page = visit(width=width, theme=theme)
    page.locator(TOKEN).nth(9).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate(OVERLAPS) == []
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found["violations"]] == []


def test_every_part_of_the_views_is_reached_by_tab(visit):
    page = visit()
    page.locator("[data-part=view]").focus()
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('data-part')"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline in ("solid", "auto"), "the focus is visible"
    assert reached[0] == "quantity"
    assert "map" in reached


def test_without_scripts_pictures_of_everything_are_there(visit):
    page = visit(java_script_enabled=False)
    assert page.locator(".interactive").is_hidden()
    assert page.locator(".explorer .panel svg").first.is_visible()
    assert page.locator("article .strip .tokens").first.is_visible()
    assert page.locator(".dose .tokens").evaluate_all("all => all.length") == 8
    assert all(page.locator(".dose .tokens").nth(k).is_visible() for k in range(8))
    assert page.locator("input[type=range]").is_hidden()


def test_without_scripts_one_layer_has_no_empty_section(visit):
    page = visit("layer", java_script_enabled=False)
    assert page.locator(".explorer").is_hidden()
    assert page.get_by_role("link", name="Token by token").count() == 0


def test_the_views_are_not_printed_but_their_pictures_are(visit):
    page = visit("layers", width=794)
    page.emulate_media(media="print")
    assert page.locator(".interactive").is_hidden()
    assert page.locator(".explorer .panel svg").first.is_visible()
    assert page.locator(".dose:visible").count() == 4
    assert visit("layer").locator(".explorer").is_visible()
    alone = visit("layer", width=794)
    alone.emulate_media(media="print")
    assert alone.locator(".explorer").is_hidden()


def test_the_views_of_one_layer_add_no_page(visit):
    page = visit("layer")
    with_views = pages(page)
    page.evaluate("document.querySelector('.explorer').remove()")
    assert with_views == pages(page)


def test_the_views_work_in_the_frame_of_a_notebook(program, tmp_path):
    finding = next(f for f in report(("L10",)).findings if f.paths)
    cell = tmp_path / "cell.html"
    cell.write_text(f"<!doctype html>{finding._repr_html_()}", encoding="utf-8")
    page = program.new_page()
    page.goto(cell.as_uri())
    frame = page.frame_locator("iframe")
    frame.locator(TOKEN).nth(5).click()
    assert frame.locator(".one strong").text_content() == "·cat1"
    page.close()


def test_a_report_without_paths_and_doses_has_no_script():
    plain = [f for f in report().findings if f.strips]
    assert "<script" not in page_of(Report("t", (), findings=tuple(plain)))
    assert "script-src" not in page_of(Report("t", (), findings=tuple(plain)))
