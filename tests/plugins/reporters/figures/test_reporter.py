"""The files of each figure."""

from dataclasses import replace

from PIL import Image

from sdelens.report import Finding, Report
from sdelens.report_protocols import FigureReporter, MatplotlibReporter, PageReporter
from sdelens.runs.findings import load_finding, save_finding
from sdelens_plugins.reporters.figures import drawing
from sdelens_plugins.reporters.figures.csv_file import from_csv
from sdelens_plugins.reporters.figures.drawing import draw
from sdelens_plugins.reporters.figures.reporter import FiguresReporter
from sdelens_plugins.reporters.html.reporter import HtmlReporter
from tests.plugins.reporters.reports import HOSTILE, every_mark, shared_axes


def test_both_fulfil_the_narrower_reporter_protocols():
    assert isinstance(FiguresReporter(), FigureReporter)
    assert isinstance(FiguresReporter(), MatplotlibReporter)
    assert isinstance(HtmlReporter(), PageReporter)


def test_a_user_changes_a_drawing_and_not_the_report(tmp_path):
    figure = shared_axes()
    before = figure.svg()
    axes = figure.to_matplotlib()
    assert [each.get_ylabel() for each in axes] == [panel.y for panel in figure.panels]
    axes[0].set_ylabel("mine")
    axes[0].figure.figure.savefig(tmp_path / "mine.png")
    with Image.open(tmp_path / "mine.png") as image:
        assert image.size[0] > 100
    assert figure.svg() == before


def test_every_figure_is_written_three_times(tmp_path):
    finding = Finding(
        "L02", "h", "r", figures=(every_mark(), shared_axes()), prompt="p", analyzer="../up"
    )
    place = FiguresReporter().render(Report("t", (), findings=(finding,)), tmp_path)
    assert place == tmp_path / "figures"
    files = sorted(place.iterdir())
    assert sorted(f.suffix for f in files) == [".csv", ".csv", ".png", ".png", ".svg", ".svg"]
    assert list(tmp_path.rglob("*.png")) == [f for f in files if f.suffix == ".png"]
    image = Image.open(next(f for f in files if f.name.endswith("lines.png")))
    assert image.size[0] == 7 * 200
    assert image.getpixel((0, 0))[:3] == (255, 255, 255)


def test_a_figure_is_drawn_once_for_all_files_and_pages(tmp_path, monkeypatch):
    drawn = []

    def counted(figure):
        drawn.append(figure)
        return draw(figure)

    monkeypatch.setattr(drawing, "draw", counted)
    figure = replace(shared_axes(), panels=shared_axes().panels[:1])
    finding = Finding("L02", "h", "r", figures=(figure,))
    whole = Report("t", (), findings=(finding,))
    drawing._drawing_of_csv.cache_clear()
    FiguresReporter().render(whole, tmp_path / "one")
    save_finding(finding, tmp_path)
    again = replace(whole, findings=(load_finding(tmp_path),))
    HtmlReporter().render(again, tmp_path)
    FiguresReporter().render(again, tmp_path / "other")
    assert figure._repr_html_()
    assert len(drawn) == 1


def test_a_csv_file_can_be_drawn_again(tmp_path):
    finding = Finding("L02", "h", "r", figures=(every_mark(words=HOSTILE[:5]),))
    place = FiguresReporter().render(Report("t", (), findings=(finding,)), tmp_path)
    (file,) = place.glob("*.csv")
    (picture,) = place.glob("*.svg")
    assert draw(from_csv(file.read_bytes().decode())).svg == picture.read_text("utf-8")
