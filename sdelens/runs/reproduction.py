"""Reproduces the figures of arXiv 2408.11863, each with the analyzer that corresponds to it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from os.path import relpath
from pathlib import Path
from typing import Any

from sdelens.interfaces import load
from sdelens.language.prompt import QUESTION
from sdelens.report import Finding, Report
from sdelens.runs.findings import load_finding
from sdelens.runs.run import Run
from sdelens.runs.run_analyzers import analyze, figure_plugin, render
from sdelens.runs.run_report import report_of
from sdelens.runs.saved_findings import finding_folder, finding_folders
from sdelens.settings import build, described

SETTINGS: Mapping[str, Mapping[str, Any]] = {"generate": {"start": "mean"}}
"""As in the paper, simulations start from the mean state of the prompt."""


@dataclass(frozen=True)
class Exhibit:
    """A figure of the paper and the analyzer that reproduces it.

    `figures` are patterns that select among the figures of `analyzer` by name. `numbers` says
    whether its estimates and coloured tokens are included; they are where it appears first.
    """

    name: str
    about: str
    analyzer: str
    figures: tuple[str, ...]
    prompted: bool = False
    numbers: bool = True

    def of(self, finding: Finding) -> Finding:
        """The part of the analyzer's finding that belongs to this figure."""
        chosen = (f for f in finding.figures if any(fnmatch(f.name, p) for p in self.figures))
        reading = f"{self.about} {finding.reading}"
        part = replace(finding, figures=tuple(chosen), reading=reading)
        return part if self.numbers else replace(part, estimates=(), strips=())


EXHIBITS = (
    Exhibit(
        "Figure 1",
        "The paper shows drift, diffusion and total loss falling over its epochs.",
        "losses",
        ("*",),
    ),
    Exhibit(
        "Figure 2",
        "The paper plots the actual and predicted paths side by side in two principal components.",
        "trajectory",
        ("path",),
    ),
    Exhibit(
        "Figure 3",
        "The paper overlays the actual and predicted paths.",
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
        "The paper uses attention weights and norms of embeddings as measures of word importance.",
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
    """Reproduce the figures of the paper for a finished run; existing findings are reused.

    Writes PNG, SVG and CSV files named after the paper's figures to ``figures/`` in `folder`.
    Returns the report, which a reporter can write there.
    """
    found: list[tuple[Exhibit, Finding]] = []
    for exhibit in EXHIBITS:
        watch(exhibit.name)
        findings = _findings(run, exhibit.analyzer, prompt if exhibit.prompted else None)
        found += [(exhibit, exhibit.of(finding)) for finding in findings]
    named = tuple(replace(finding, analyzer=exhibit.name) for exhibit, finding in found)
    render(Report(title="", verdict=(), findings=named), folder, figure_plugin().name)
    return _page(run, folder, found)


def _findings(run: Run, analyzer: str, prompt: str | None) -> tuple[Finding, ...]:
    """The findings of an analyzer in every view, computed unless they are saved already."""
    own = SETTINGS.get(analyzer, {})
    settings = described(build(load("analyzer", analyzer), own, analyzer))
    saved = tuple(
        finding
        for finding in _saved(run, analyzer)
        if (finding.prompt, finding.settings) == (prompt, settings)
    )
    if {finding.view for finding in saved} >= set(map(str, run.views)):
        return saved
    return analyze(run, (analyzer,), prompt=prompt, settings={analyzer: own})[0]


def _saved(run: Run, analyzer: str) -> Iterator[Finding]:
    return map(load_finding, finding_folders(run, analyzer))


def _page(run: Run, folder: Path, found: list[tuple[Exhibit, Finding]]) -> Report:
    """The report of the run, to be written to `folder`, with the paper's figures as findings."""
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
