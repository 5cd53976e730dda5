"""A report as Markdown, for the appendix of a paper."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import sdelens
from sdelens.report import Finding, Report
from sdelens.store import write_text


@sdelens.reporter("appendix")
@dataclass(frozen=True)
class AppendixReporter:
    """Writes ``appendix.md``: verdict, scores, what each analyzer found, and where it is from."""

    api: ClassVar[int] = 1

    def render(self, report: Report, folder: Path) -> Path:
        file = folder / "appendix.md"
        write_text(file, "\n\n".join(parts(report)) + "\n")
        return file


def parts(report: Report) -> Iterator[str]:
    """Paragraphs, one after the other."""
    yield f"# {plain(report.title)}"
    yield "\n".join(f"- {plain(sentence)}" for sentence in report.verdict)
    for one in report.tables:
        yield f"## {plain(one.title)}"
        yield table(one.columns, one.rows)
        yield plain(one.note)
    for finding in report.findings:
        yield from said(finding)
    yield "## Provenance"
    yield table(("what", "which"), list(report.provenance.items()))


def said(finding: Finding) -> Iterator[str]:
    """A finding's headline, estimates, captions, and how to read it."""
    yield f"## {plain(finding.analyzer)}, {plain(finding.view)}"
    yield plain(" ".join([finding.headline, *finding.details]))
    if finding.estimates:
        yield table(("estimate", "value"), [(e.name, str(e)) for e in finding.estimates])
    for figure in finding.figures:
        yield f"*Figure `{figure.name}`.* {plain(figure.caption)}"
    yield plain(finding.reading)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown, the first column to the left and numbers to the right."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    lines = [columns, rule, *rows]
    return "\n".join(f"| {' | '.join(map(plain, line))} |" for line in lines)


def plain(text: str) -> str:
    """One line, in which nothing is a mark of Markdown's or of HTML's."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{sign}" if sign in "\\|*_`[]" else sign for sign in line)
