"""Builds the page of a report from ``report.html.jinja``, style sheets and ``scripts/``.

It works on any screen, in light and dark, and needs no other file.
"""

import math
import re
from base64 import b64encode
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sdelens.report import DoseSeries, Estimate, Figure, Finding, Report, Strip
from sdelens.summary import REAL
from sdelens_plugins.reporters.figures.csv_file import to_csv
from sdelens_plugins.reporters.figures.layout import is_wide
from sdelens_plugins.reporters.figures.reporter import file_stem
from sdelens_plugins.reporters.figures.style import DARK, PALETTE
from sdelens_plugins.reporters.html.embedding import embedded, policy, script
from sdelens_plugins.reporters.html.inline_svg import inline_panels
from sdelens_plugins.reporters.html.joined_texts import joined_texts
from sdelens_plugins.reporters.html.token_strips import ColouredStrip

HERE = Path(__file__).parent
MARKS = {"yes": "✓", "no": "✗", "unclear": "?"}
MOST_STRIPS = 24
"""Strips over the same tokens that can have a button each."""


def page(report: Report) -> str:
    """The whole page."""
    joined = joined_texts(report.findings)
    live = bool(joined) or any(finding.doses for finding in report.findings)
    text = (
        _environment()
        .get_template("report.html.jinja")
        .render(
            report=report,
            css=css(),
            texts=[each.data() for each in joined],
            maps=[figure for each in joined for figure in each.maps()],
            live=live,
            policy=policy(live=live),
            script=script(),
        )
    )
    # a token may contain half a surrogate pair, which UTF-8 cannot encode
    return text.encode("utf-8", "replace").decode("utf-8")


def css() -> Markup:
    """The style sheet, with the palettes for light and dark and the rules of the buttons."""
    light, dark = (
        " ".join(f"--series-{k}: {colour};" for k, colour in enumerate(colours))
        for colours in (PALETTE, DARK)
    )
    checked = ", ".join(
        f'.strip:has(input[value="{k}"]:checked) .quantity:nth-of-type({k})'
        for k in range(1, MOST_STRIPS + 1)
    )
    buttons = (
        f".strip:has(.quantities) .quantity {{ display: none; }} {checked} {{ display: block; }}"
    )
    files = (HERE / name for name in ("report.css", "views.css"))
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    inserts = {"series, light": light, "series, dark": dark, "quantities": buttons}
    for place, rules in inserts.items():
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
    environment.filters |= {
        "anchor": anchor,
        "coloured": ColouredStrip,
        "data_link": data_link,
        "embedded": embedded,
        "first_sentence": lambda text: re.split(r"(?<=\.) (?=[A-Z])", text, maxsplit=1)[0],
        "identifier": identifier,
        "share_of": share_of,
        "question_id": lambda question: f"q-{identifier(question)}",
        "strips_by_tokens": strips_by_tokens,
    }
    environment.tests["wide"] = is_wide
    environment.globals |= {
        "panels": panels,
        "file_stem": file_stem,
        "marks": MARKS,
        "real": REAL,
    }
    return environment


def anchor(finding: Finding) -> str:
    """The id that links lead to."""
    return re.sub(r"\W+", "-", f"{finding.analyzer}-{finding.view}").lower()


def strips_by_tokens(finding: Finding) -> list[list[Strip]]:
    """Strips over the same tokens together, to be displayed in one place."""
    groups: dict[tuple[str, ...], list[Strip]] = {}
    for strip in finding.strips:
        groups.setdefault(strip.tokens, []).append(strip)
    return list(groups.values())


def panels(figure: Figure, prefix: str, hover: bool = True) -> tuple[Markup, ...]:
    """The figure's panels as SVG; `prefix` distinguishes figures of the same name."""
    # matplotlib escapes words and labels
    return tuple(Markup(text) for text in inline_panels(figure, prefix=prefix, hover=hover))


def data_link(figure: Figure) -> str:
    """The CSV of a figure as a link to be downloaded, so that a report sent alone has its data."""
    text = to_csv(figure).encode("utf-8", "replace")
    return f"data:text/csv;charset=utf-8;base64,{b64encode(text).decode()}"


def share_of(effect: Estimate, series: DoseSeries) -> str:
    """An effect as a share of the largest of its series, from 0 to 1."""
    values = (each.value for dose in series.doses for each in dose.effects)
    largest = max((value for value in values if math.isfinite(value)), default=0.0)
    share = effect.value / largest if largest > 0 else 0.0
    return f"{share if math.isfinite(share) else 0.0:.3f}"


def identifier(name: str) -> str:
    """A name as part of an id."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-").lower()
