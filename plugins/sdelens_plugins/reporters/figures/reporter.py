"""The reporter ``figures``: every figure as PNG and SVG, and its data as CSV."""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sdelens.report import Figure, Finding, Report
from sdelens.store import replaced
from sdelens_plugins.reporters.figures.csv_file import to_csv
from sdelens_plugins.reporters.figures.drawing import draw, drawing_of


@dataclass(frozen=True)
class FiguresReporter:
    """Writes the folder ``figures`` with three files for each figure of a report."""

    dpi: int = 200

    def render(self, report: Report, folder: Path) -> Path:
        place = folder / "figures"
        place.mkdir(parents=True, exist_ok=True)
        for finding in report.findings:
            for figure in finding.figures:
                self._write(figure, place / file_stem(finding, figure))
        return place

    def svg(self, figure: Figure) -> str:
        """One figure as SVG."""
        return drawing_of(figure).svg

    def axes(self, figure: Figure) -> list[Any]:
        """The matplotlib axes of a new drawing of one figure, one for each panel."""
        return [subfigure.axes[0] for subfigure in draw(figure).subfigures]

    def _write(self, figure: Figure, stem: Path) -> None:
        drawing = drawing_of(figure)
        contents = {
            "png": drawing.png(dpi=self.dpi),
            "svg": drawing.svg.encode(),
            # a token may contain half a surrogate pair, which UTF-8 cannot encode
            "csv": to_csv(figure).encode("utf-8", "replace"),
        }
        for suffix, content in contents.items():
            file = stem.with_name(f"{stem.name}.{suffix}")
            replaced(file, lambda place, content=content: place.write_bytes(content))  # type: ignore[misc]


def file_stem(finding: Finding, figure: Figure) -> str:
    """The name of a figure's files: analyzer, view, hash of the prompt if any, figure."""
    prompt = [sha256(finding.prompt.encode()).hexdigest()[:8]] if finding.prompt else []
    parts = [finding.analyzer, finding.view, *prompt, figure.name]
    return "-".join(re.sub(r"[^\w.]+", "_", part).strip(".") for part in parts)
