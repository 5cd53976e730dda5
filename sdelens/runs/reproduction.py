"""The figures of arXiv 2408.11863, each by the analyzer that answers its question."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from os.path import relpath
from pathlib import Path
from typing import Any

from sdelens.interfaces import load
from sdelens.language.prompt import QUESTION
from sdelens.protocols import Reporter
from sdelens.report import Finding, Report
from sdelens.runs.findings import load_finding
from sdelens.runs.reporting import analyze, finding_folder, report_of
from sdelens.runs.run import Run
from sdelens.settings import build, described

SETTINGS: Mapping[str, Mapping[str, Any]] = {"generate": {"start": "mean"}}
"""As the paper does: the prompt's mean state is where its simulation starts."""


@dataclass(frozen=True)
class Exhibit:
    """A figure of the paper: what it is about, and where the answer is found.

    `figures` are patterns of names, of the figures of `analyzer`. `numbers` says whether its
    estimates and coloured words stand here too; they do where the analyzer comes first.
    """

    name: str
    about: str
    analyzer: str
    figures: tuple[str, ...]
    prompted: bool = False
    numbers: bool = True

    def of(self, finding: Finding) -> Finding:
        """What of the analyzer's finding belongs here."""
        chosen = (f for f in finding.figures if any(fnmatch(f.name, p) for p in self.figures))
        reading = f"{self.about} {finding.reading}"
        shown = replace(finding, figures=tuple(chosen), reading=reading)
        return shown if self.numbers else replace(shown, estimates=(), strips=())


EXHIBITS = (
    Exhibit(
        "Figure 1",
        "The paper shows drift, diffusion and total loss falling over its epochs.",
        "losses",
        ("*",),
    ),
    Exhibit(
        "Figure 2",
        "The paper sets the actual beside the predicted path in two principal components.",
        "trajectory",
        ("path",),
    ),
    Exhibit(
        "Figure 3",
        "The paper lays the actual and the predicted path over each other.",
        "trajectory",
        ("overlay", "free", "horizon"),
        numbers=False,
    ),
    Exhibit(
        "Figure 4, left",
        "The paper draws the drift as a vector field.",
        "vector_field",
        ("field",),
    ),
    Exhibit(
        "Figure 4, right",
        "The paper draws the diffusion as uncertainty, token by token.",
        "uncertainty",
        ("aleatoric*", "epistemic*"),
        prompted=True,
    ),
    Exhibit(
        "Figure 5, left",
        "The paper refines the vector field.",
        "vector_field",
        ("planes*", "derivatives"),
        numbers=False,
    ),
    Exhibit(
        "Figure 5, right",
        "The paper refines the map of uncertainty.",
        "uncertainty",
        ("components", "bins", "correlations"),
        prompted=True,
        numbers=False,
    ),
    Exhibit(
        "Figure 6",
        "The paper takes attention weights and norms of embeddings for the importance of words.",
        "importance",
        ("*",),
        prompted=True,
    ),
    Exhibit(
        "Figure 7 and Appendix B",
        "The paper simulates its equation from a question and reads the states as words.",
        "generate",
        ("*",),
        prompted=True,
    ),
)


def reproduce(
    run: Run,
    folder: Path,
    *,
    prompt: str = QUESTION,
    watch: Callable[[str], None] = lambda _: None,
) -> Report:
    """Every figure of the paper for a finished run, in `folder`; what was found already is kept.

    Writes ``figures/`` with a PNG, an SVG and a CSV of each, named after the paper's figures, and
    leaves the page to a reporter.
    """
    found: list[tuple[Exhibit, Finding]] = []
    for exhibit in EXHIBITS:
        watch(exhibit.name)
        answers = _answers(run, exhibit.analyzer, prompt if exhibit.prompted else None)
        found += [(exhibit, exhibit.of(finding)) for finding in answers]
    named = tuple(replace(finding, analyzer=exhibit.name) for exhibit, finding in found)
    figures: Reporter = load("reporter", "figures")()
    figures.render(Report(title="", verdict=(), findings=named), folder)
    return _page(run, folder, found)


def _answers(run: Run, analyzer: str, prompt: str | None) -> tuple[Finding, ...]:
    """What an analyzer found in every view; it is asked where it was not so asked before."""
    own = SETTINGS.get(analyzer, {})
    settings = described(build(load("analyzer", analyzer), own, analyzer))
    asked = (prompt, settings)
    known = tuple(f for f in _known(run, analyzer) if (f.prompt, f.settings) == asked)
    if {finding.view for finding in known} >= set(map(str, run.views)):
        return known
    return analyze(run, (analyzer,), prompt=prompt, settings={analyzer: own})[0]


def _known(run: Run, analyzer: str) -> Iterator[Finding]:
    files = sorted(run.folder.glob(f"analysis/{analyzer}/*/finding.json"))
    return (load_finding(file.parent) for file in files)


def _page(run: Run, folder: Path, found: list[tuple[Exhibit, Finding]]) -> Report:
    """The run's own report, with the paper's figures for its findings, to lie in `folder`."""
    whole, there = report_of(run), relpath(run.folder, folder)
    tables = (replace(table, source=f"{there}/{table.source}") for table in whole.tables)
    return replace(
        whole,
        title=f"The figures of arXiv 2408.11863 for {run.manifest['model']['name']}",
        tables=tuple(tables),
        findings=tuple(finding for _, finding in found),
        places=tuple(relpath(finding_folder(run, finding), folder) for _, finding in found),
        labels=tuple(exhibit.name for exhibit, _ in found),
        failures={},
    )
