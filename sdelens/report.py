"""The values that make up a report: estimates, figures as data, findings, tables."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from jaxtyping import Float, Shaped
from torch import Tensor

from sdelens.containment.contained import contained
from sdelens.errors import UsageError
from sdelens.estimate import Estimate as Estimate
from sdelens.linked_views import Dose as Dose
from sdelens.linked_views import DoseSeries as DoseSeries
from sdelens.linked_views import StatePath as StatePath
from sdelens.linked_views import Strip as Strip
from sdelens.summary import Check, Summary, in_order
from sdelens.wording import counted

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class Layer:
    """One mark of a figure: lines, a band, scattered points, arrows, bars, a heat map or words.

    `values` contains its columns by role: x and y; low and high for bands and error bars; u and v
    for arrows; z for heat maps, ``[y, x]``; base for stacked bars. `words` label the points.
    """

    mark: Literal["line", "band", "scatter", "arrows", "bars", "heat", "words"]
    values: Mapping[str, Float[Tensor, "..."]]
    label: str = ""
    series: int = 0
    """The number of its colour in the palette, counted from 0."""
    dashed: bool = False
    words: tuple[str, ...] = ()
    signed: bool = False
    """Whether the values of a heat map have a sign, so that its colours diverge from zero."""


Scale = Literal["linear", "log", "symlog"]
"""The scale of an axis; ``symlog`` is linear between -1 and 1 and logarithmic beyond."""


@dataclass(frozen=True, eq=False)
class Panel:
    """A pair of axes with labels and units."""

    x: str
    y: str
    layers: tuple[Layer, ...]
    title: str = ""
    equal: bool = False
    """Whether a unit has the same length on both axes."""
    share: str = ""
    """Panels that share a name have the same limits, except along categories of bars."""
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"


@dataclass(frozen=True, eq=False)
class Figure:
    """Panels with a caption, as data that a reporter draws."""

    name: str
    panels: tuple[Panel, ...]
    caption: str

    def __repr__(self) -> str:
        return f"<figure {self.name}, {counted(len(self.panels), 'panel')}: {self.caption}>"

    def _repr_html_(self) -> str:
        """Notebooks display the figure with its caption."""
        drawn = b64encode(self.svg().encode()).decode()
        image = f'<img alt="{escape(self.name)}" src="data:image/svg+xml;base64,{drawn}">'
        caption = f"<figcaption>{escape(self.caption)}</figcaption>"
        return f'<figure style="margin: 0; max-width: 46rem">{image}{caption}</figure>'

    def _repr_svg_(self) -> str:
        """Notebooks that do not display HTML get the figure alone."""
        return self.svg()

    def svg(self) -> str:
        """The figure as SVG, drawn by the first reporter that can."""
        return str(self._drawn("svg"))

    def to_matplotlib(self) -> list[Any]:
        """The axes of a new matplotlib drawing, one for each panel, to be changed and saved.

        ``axes[0].figure.figure.savefig("mine.pdf")`` saves the whole figure.
        """
        return list(self._drawn("axes"))

    def _drawn(self, method: str) -> Any:
        from sdelens.registry import plugin_with

        with contained("the reporter of figures"):
            return getattr(plugin_with("reporter", method).load()(), method)(self)


@dataclass(frozen=True, eq=False)
class Finding:
    """The result of an analyzer for one view of a run."""

    view: str
    headline: str
    reading: str
    """How to read the result, and what it does not show."""
    estimates: tuple[Estimate, ...] = ()
    arrays: Mapping[str, Shaped[Tensor, "..."]] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    strips: tuple[Strip, ...] = ()
    prompt: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings of the analyzer, JSON values; the run sets them, and the analyzer's name."""
    analyzer: str = ""
    details: tuple[str, ...] = ()
    """Sentences that qualify the headline."""
    process_class: str = ""
    """The class of process that the analyzer assigns, if it does."""
    summary: Summary = field(default_factory=Summary)
    """Its contribution to the first screen of the report."""
    question: str = ""
    """The section of the report that it belongs to; the run sets it from the analyzer."""
    paths: tuple[StatePath, ...] = ()
    """Texts with a state at each token, for the interactive views of a report."""
    doses: tuple[DoseSeries, ...] = ()
    """Texts at several doses, one of which is selected in a report."""

    def __repr__(self) -> str:
        return f"<{self.title}: {self.headline}>"

    @property
    def title(self) -> str:
        """The name of the analyzer, if it is known, and the view."""
        return f"{self.analyzer} {self.view}".strip()

    def _repr_html_(self) -> str:
        """Notebooks display the finding as in a report, in a frame."""
        return Report(title=self.title, verdict=(), findings=(self,))._repr_html_()

    def to_pandas(self, what: Literal["estimates", "tokens"] = "estimates") -> "DataFrame":
        """The estimates, or the values of each token, as a data frame.

        Raises `UsageError` if there are no values by token.
        """
        from pandas import DataFrame

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
    """Rows of text with column headings; numbers are formatted."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    own: int | None = None
    """The row of the fit, which is highlighted."""
    source: str = ""
    """The file of the run that contains its numbers."""


@dataclass(frozen=True, eq=False)
class FirstScreen:
    """The result at a glance: a sentence, checks, the sample, two figures and a coloured text."""

    sentence: str
    checks: tuple[Check, ...] = ()
    sample: str = ""
    picture: Figure | None = None
    gains: Figure | None = None
    strip: Strip | None = None


@dataclass(frozen=True, eq=False)
class Report:
    """The content of a report, written to files by a reporter."""

    title: str
    verdict: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    findings: tuple[Finding, ...] = ()
    places: tuple[str, ...] = ()
    """The folder of each finding, relative to the report; empty if they are not saved."""
    labels: tuple[str, ...] = ()
    """The label of each finding; if empty, the names of the analyzers."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Analyzers that could not run, and why."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    subtitle: str = ""
    first_screen: FirstScreen | None = None

    def __repr__(self) -> str:
        return f"<report on {self.title}, {counted(len(self.findings), 'finding')}>"

    @property
    def sections(self) -> dict[str, list[int]]:
        """The numbers of the findings by the question that they answer, in reading order."""
        return {
            question: [k for k, found in enumerate(self.findings) if found.question == question]
            for question in in_order(finding.question for finding in self.findings)
        }

    def _repr_html_(self) -> str:
        """Notebooks display the page in a frame."""
        from sdelens.registry import plugin_with

        with contained("the reporter of pages"):
            page = escape(plugin_with("reporter", "page").load()().page(self))
        return f'<iframe srcdoc="{page}" style="{FRAME}" onload="{FIT_HEIGHT}"></iframe>'


FRAME = "width: 100%; height: 40rem; border: 0"
FIT_HEIGHT = (
    "this.style.height = Math.min(this.contentDocument.documentElement.scrollHeight, 2400) + 'px'"
)
"""Fits the height of a frame to its content, up to 2400 pixels, if the notebook allows it."""
