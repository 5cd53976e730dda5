"""The reporter ``html``: the report as one HTML file."""

from dataclasses import dataclass
from pathlib import Path

from sdelens.report import Report
from sdelens.store import write_text
from sdelens_plugins.reporters.html.page import page


@dataclass(frozen=True)
class HtmlReporter:
    """Writes ``report.html``: no external resource, no script but its own, all text escaped."""

    def render(self, report: Report, folder: Path) -> Path:
        file = folder / "report.html"
        write_text(file, self.page(report))
        return file

    def page(self, report: Report) -> str:
        """The report as HTML."""
        return page(report)
