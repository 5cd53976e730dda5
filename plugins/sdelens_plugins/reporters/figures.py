"""Every figure as PNG and SVG, and the numbers in it as CSV."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from io import StringIO
from itertools import zip_longest
from pathlib import Path

from sdelens.report import Figure, Finding, Layer, Report
from sdelens.store import replaced, write_text
from sdelens_plugins.reporters.drawing import png, svg

ROLES = ("x", "y", "low", "high", "u", "v", "z")


@dataclass(frozen=True)
class FiguresReporter:
    """The folder ``figures`` with three files for each figure of a report."""

    dpi: int = 200

    def render(self, report: Report, folder: Path) -> Path:
        place = folder / "figures"
        place.mkdir(parents=True, exist_ok=True)
        for finding in report.findings:
            for figure in finding.figures:
                self.write(figure, place, stem_of(finding, figure))
        return place

    def svg(self, figure: Figure) -> str:
        """One figure by itself."""
        return svg(figure)

    def write(self, figure: Figure, folder: Path, stem: str) -> None:
        """The three files of one figure."""
        image = png(figure, dpi=self.dpi)
        replaced(folder / f"{stem}.png", lambda file: file.write_bytes(image))
        write_text(folder / f"{stem}.svg", svg(figure))
        write_text(folder / f"{stem}.csv", table(figure))


def stem_of(finding: Finding, figure: Figure) -> str:
    """A file name: analyzer, view, a hash of the prompt if there is one, figure."""
    asked = [sha256(finding.prompt.encode()).hexdigest()[:8]] if finding.prompt else []
    parts = [finding.analyzer, finding.view, *asked, figure.name]
    return "-".join(re.sub(r"[^\w.]+", "_", part).strip(".") for part in parts)


def table(figure: Figure) -> str:
    """The figure's data as CSV: a row for each point, with its panel, layer and mark."""
    sink = StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(["panel", "layer", "mark", "point", "word", *ROLES])
    for number, panel in enumerate(figure.panels):
        for layer in panel.layers:
            name = [panel.title or str(number), layer.label, layer.mark]
            writer.writerows([*name, *row] for row in _points(layer))
    return sink.getvalue()


def _points(layer: Layer) -> Iterator[list[object]]:
    """Point number, word and the roles' values; the cells of a heat map one by one."""
    columns = {role: values.tolist() for role, values in layer.values.items()}
    words = layer.words
    if layer.mark == "heat":
        wide, high = len(columns["x"]), len(columns["y"])
        columns = {
            "x": columns["x"] * high,
            "y": [y for y in columns["y"] for _ in range(wide)],
            "z": [cell for row in columns["z"] for cell in row],
        }
        words = words * high
    rows = zip_longest(words, *(columns.get(role, ()) for role in ROLES), fillvalue="")
    return ([point, *row] for point, row in enumerate(rows))
