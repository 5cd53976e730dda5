"""The report as one HTML file that needs nothing else, on any screen, in light and dark."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sdelens.report import Figure, Finding, Report, Strip
from sdelens.store import write_text
from sdelens_plugins.reporters.drawing import has_words
from sdelens_plugins.reporters.figures import stem_of
from sdelens_plugins.reporters.marks import DARK, PALETTE
from sdelens_plugins.reporters.strips import Coloured
from sdelens_plugins.reporters.themed import themed_panels

HERE = Path(__file__).parent
MOST = 24
"""Quantities that one view of tokens can have buttons for."""


@dataclass(frozen=True)
class HtmlReporter:
    """Writes ``report.html``: no script, no resource from elsewhere, everything escaped."""

    def render(self, report: Report, folder: Path) -> Path:
        file = folder / "report.html"
        write_text(file, self.page(report))
        return file

    def page(self, report: Report) -> str:
        """The page itself."""
        return page(report)


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
    chosen = ", ".join(
        f'.strip:has(input[value="{k}"]:checked) .quantity:nth-of-type({k})'
        for k in range(1, MOST + 1)
    )
    buttons = (
        f".strip:has(.quantities) .quantity {{ display: none; }} {chosen} {{ display: block; }}"
    )
    text = (HERE / "report.css").read_text(encoding="utf-8")
    for place, rules in (
        ("series, light", light),
        ("series, dark", dark),
        ("quantities", buttons),
    ):
        text = text.replace(f"/* {place} */", rules)
    return Markup(text)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"anchor": anchor, "coloured": Coloured, "token_views": token_views}
    environment.globals |= {"panels": panels, "has_words": has_words, "stem": stem_of}
    return environment


def anchor(finding: Finding) -> str:
    """A name for links to a finding."""
    return re.sub(r"\W+", "-", f"{finding.analyzer}-{finding.view}").lower()


def token_views(finding: Finding) -> list[list[Strip]]:
    """Strips over the same tokens together: one view with a button for each quantity."""
    views: dict[tuple[str, ...], list[Strip]] = {}
    for strip in finding.strips:
        views.setdefault(strip.tokens, []).append(strip)
    return list(views.values())


def panels(finding: Finding, number: int, figure: Figure) -> tuple[Markup, ...]:
    """The figure's panels as SVG elements; `number` tells findings of one name apart."""
    prefix = f"f{number}-{anchor(finding)}-{re.sub(r'[^a-zA-Z0-9]+', '-', figure.name)}"
    # SVG by matplotlib, which escapes what words and labels hold
    return tuple(Markup(text) for text in themed_panels(figure, prefix=prefix))
