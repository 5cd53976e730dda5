"""Answers as plain values: estimates, arrays, figures as data."""

import math
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from html import escape
from typing import TYPE_CHECKING, Literal

from jaxtyping import Float, Shaped
from torch import Tensor

from sdelens.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Estimate:
    """A number, how sure it is, and its unit."""

    name: str
    value: float
    stderr: float | None = None
    unit: str = ""

    @property
    def number(self) -> str:
        """The value, and its error to two digits with the value to match.

        >>> Estimate("gain", 0.07123, stderr=0.0123, unit="nats").number
        '0.071 ± 0.012'
        >>> Estimate("gain", 4.2071e-6, stderr=9.4e-7).number
        '(4.21 ± 0.94)e-06'
        """
        error = self.stderr
        if error is None or not math.isfinite(error) or error <= 0:
            return f"{self.value:.4g}"
        digits = max(0, 1 - math.floor(math.log10(error)))
        power = math.floor(math.log10(max(abs(self.value), error)))
        if power > -4:
            return f"{self.value:.{digits}f} ± {error:.{digits}f}"
        digits, unit = digits + power, 10.0**power  # many zeros are hard to count
        return f"({self.value / unit:.{digits}f} ± {error / unit:.{digits}f})e{power:03d}"

    def __str__(self) -> str:
        return f"{self.number} {self.unit}".rstrip()


@dataclass(frozen=True, eq=False)
class Layer:
    """One mark of a figure: lines, a band, scattered points, arrows, bars, a heat map or words.

    `values` holds its columns by role: x and y; low and high for a band; u and v for arrows; z for
    a heat map (``[y, x]``); base for bars that stand on others. `words` label the points.
    """

    mark: Literal["line", "band", "scatter", "arrows", "bars", "heat", "words"]
    values: Mapping[str, Float[Tensor, "..."]]
    label: str = ""
    series: int = 0
    """Which colour of the palette, counted from 0."""
    dashed: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Panel:
    """A pair of axes with labels and units."""

    x: str
    y: str
    layers: tuple[Layer, ...]
    title: str = ""
    equal: bool = False
    """Whether one unit has the same length on both axes."""
    share: str = ""
    """Panels that share a name have the same limits."""


@dataclass(frozen=True, eq=False)
class Figure:
    """Panels side by side, and the sentence that goes below them."""

    name: str
    panels: tuple[Panel, ...]
    caption: str

    def _repr_html_(self) -> str:
        """In a notebook: the figure, and its caption below."""
        drawn = b64encode(self.svg().encode()).decode()
        image = f'<img alt="{escape(self.name)}" src="data:image/svg+xml;base64,{drawn}">'
        caption = f"<figcaption>{escape(self.caption)}</figcaption>"
        return f'<figure style="margin: 0; max-width: 46rem">{image}{caption}</figure>'

    def _repr_svg_(self) -> str:
        """Where HTML is not shown: the figure alone."""
        return self.svg()

    def svg(self) -> str:
        """The figure as SVG, drawn by the reporter of figures."""
        from sdelens.registry import plugin

        drawn: str = plugin("reporter", "figures").load()().svg(self)
        return drawn


@dataclass(frozen=True)
class Strip:
    """Tokens with a value each, to be coloured."""

    name: str
    tokens: tuple[str, ...]
    values: tuple[float, ...]
    unit: str = ""
    scale: tuple[float, float] | None = None
    """The ends of the colours, where several strips are compared by eye; else its own."""


@dataclass(frozen=True, eq=False)
class Finding:
    """What an analyzer found in one view of a run."""

    view: str
    headline: str
    reading: str
    """How to read it, and what it does not show."""
    estimates: tuple[Estimate, ...] = ()
    arrays: Mapping[str, Shaped[Tensor, "..."]] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    strips: tuple[Strip, ...] = ()
    prompt: str | None = None
    settings: Mapping[str, str | int | float | None] = field(default_factory=dict)
    """Those of the analyzer; set by who asks it, as is `analyzer`, its name."""
    analyzer: str = ""

    def __repr__(self) -> str:
        return f"<{self.title}: {self.headline}>"

    @property
    def title(self) -> str:
        """The analyzer's name, where it is known, and the view."""
        return f"{self.analyzer} {self.view}".strip()

    def _repr_html_(self) -> str:
        """In a notebook: the finding's part of a report, in a frame of its own."""
        return Report(title=self.title, verdict=(), findings=(self,))._repr_html_()

    def to_pandas(self, what: Literal["estimates", "tokens"] = "estimates") -> "DataFrame":
        """Its estimates as a table, or its values token by token; arrays are tensors anyway.

        Raises `UsageError` where pandas is not installed, or there are no values by token.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise UsageError("a table needs pandas: pip install pandas") from error
        if what == "estimates":
            columns = [each.name for each in fields(Estimate)]
            return DataFrame([asdict(each) for each in self.estimates], columns=columns)
        if not self.strips:
            raise UsageError(f"{self.title} has no values token by token")
        first = self.strips[0].tokens
        shared = {strip.name: strip.values for strip in self.strips if strip.tokens == first}
        return DataFrame({"token": first, **shared})


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; numbers are formatted already."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    own: int | None = None
    """The row that the others are compared with; it stands out."""
    source: str = ""
    """The file of the run that its numbers are from."""


@dataclass(frozen=True, eq=False)
class Report:
    """Everything to be shown of a run."""

    title: str
    verdict: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    findings: tuple[Finding, ...] = ()
    places: tuple[str, ...] = ()
    """The folder of each finding, as seen from where the report lies; none if not saved."""
    labels: tuple[str, ...] = ()
    """What each finding is called; its analyzer's name if there are none."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Analyzers that could not answer, and why."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    subtitle: str = ""

    def _repr_html_(self) -> str:
        """In a notebook: the page, in a frame of its own."""
        from sdelens.registry import plugin

        page = escape(plugin("reporter", "html").load()().page(self))
        return f'<iframe srcdoc="{page}" style="{FRAME}" onload="{GROWN}"></iframe>'


FRAME = "width: 100%; height: 40rem; border: 0"
GROWN = (
    "this.style.height = Math.min(this.contentDocument.documentElement.scrollHeight, 2400) + 'px'"
)
"""A frame grows to what it holds, up to 2400 pixels, where the notebook lets it."""


def visible(token: str) -> str:
    r"""A token as it can be shown: blanks have signs, what cannot be printed its code.

    >>> visible(" the\n")
    '·the⏎'
    """
    return "".join(_SIGNS.get(c) or (c if c.isprintable() else f"\\x{ord(c):02x}") for c in token)


_SIGNS = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍"}


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "thread"), counted(1200, "thread")
    ('1 thread', '1,200 threads')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
