"""The report as one HTML file that needs nothing else, on any screen, in light and dark."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sdelens.report import Figure, Finding, Report, visible
from sdelens.store import write_text
from sdelens_plugins.reporters.drawing import has_words
from sdelens_plugins.reporters.marks import DARK, PALETTE
from sdelens_plugins.reporters.strips import Coloured
from sdelens_plugins.reporters.themed import themed_panels

HERE = Path(__file__).parent


@dataclass(frozen=True)
class HtmlReporter:
    """Writes ``report.html``: no script, no resource from elsewhere, everything escaped."""

    def render(self, report: Report, folder: Path) -> Path:
        file = folder / "report.html"
        write_text(file, page(report))
        return file


def page(report: Report) -> str:
    """The whole page."""
    # a token may hold half a surrogate pair, which no file can
    text = _environment().get_template("report.html.jinja").render(report=report, css=css())
    return text.encode("utf-8", "replace").decode("utf-8")


def css() -> Markup:
    """The style sheet, with the palette for light and dark."""
    light, dark = (
        " ".join(f"--series-{k}: {colour};" for k, colour in enumerate(colours))
        for colours in (PALETTE, DARK)
    )
    text = (HERE / "report.css").read_text(encoding="utf-8")
    return Markup(text.replace("/* series, light */", light).replace("/* series, dark */", dark))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"anchor": anchor, "coloured": Coloured, "shown": visible}
    environment.globals |= {"panels": panels, "has_words": has_words}
    return environment


def anchor(finding: Finding) -> str:
    """A name for links to a finding."""
    return re.sub(r"\W+", "-", f"{finding.analyzer}-{finding.view}").lower()


def panels(finding: Finding, number: int, figure: Figure) -> tuple[Markup, ...]:
    """The figure's panels as SVG elements; `number` tells findings of one name apart."""
    prefix = f"f{number}-{anchor(finding)}-{re.sub(r'[^a-zA-Z0-9]+', '-', figure.name)}"
    # SVG by matplotlib, which escapes what words and labels hold
    return tuple(Markup(text) for text in themed_panels(figure, prefix=prefix))
