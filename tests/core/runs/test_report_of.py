import shutil

from sdelens.registry import plugins
from sdelens.runs.comparison import comparison
from sdelens.runs.run import Run
from sdelens.runs.run_report import report_of
from sdelens.runs.score_table import score_table
from sdelens_plugins.reporters.html.reporter import HtmlReporter


def test_the_table_shows_every_mean_and_the_documents_still_going(run):
    view = run.views[0]
    table = score_table(run.metrics(view), view, "neural")
    names = [row[0] for row in table.rows]
    assert names[:2] == ["random walk", "random walk with drift"]
    assert names[-1] == "neural (the fit)"
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert "20 documents" in table.note
    short = score_table(run.metrics(view), view, "neural", short=True)
    assert "±" not in short.rows[0][1]


def test_a_report_says_where_its_numbers_come_from(run):
    provenance = report_of(run).provenance
    assert provenance["seed"] == "0"
    assert "small" in provenance["model"]
    assert "torch 2" in provenance["versions"]


def test_every_built_in_analyzer_names_its_needs():
    for plugin in plugins("analyzer").values():
        analyzer = plugin.load()
        assert analyzer.scope in ("view", "run")
        assert analyzer.needs <= {"sde", "model", "attention", "prompt", "ensemble"}


def test_a_report_shows_no_path_of_the_machine(run, tmp_path):
    report = report_of(run)
    text = " ".join((report.title, report.subtitle, *report.provenance.values()))
    assert run.folder.name in text
    assert str(run.folder.parent) not in text
    page = comparison_page(run, tmp_path)
    assert str(run.folder.parent) not in page


def comparison_page(run, place):
    """The page of a comparison of a run with a copy of it."""
    copy = place / "copy"
    shutil.copytree(run.folder, copy)
    folder = place / "compared"
    folder.mkdir()
    return HtmlReporter().page(comparison([run, Run(copy)], folder))
