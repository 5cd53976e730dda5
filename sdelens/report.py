"""Answers as plain values: estimates, arrays, figures as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Float, Shaped
from torch import Tensor

from sdelens.errors import UsageError


@dataclass(frozen=True)
class Estimate:
    """A number, how sure it is, and its unit."""

    name: str
    value: float
    stderr: float | None = None
    unit: str = ""

    def __str__(self) -> str:
        error = "" if self.stderr is None else f" ± {self.stderr:.2g}"
        return f"{self.value:.4g}{error}{' ' + self.unit if self.unit else ''}"


@dataclass(frozen=True, eq=False)
class Layer:
    """One mark of a figure: lines, a band, scattered points, arrows, bars, a heat map or words.

    `values` holds its columns by role: x and y; low and high for a band; u and v for arrows; z for
    a heat map (``[y, x]``). `words` label the points.
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


@dataclass(frozen=True)
class Strip:
    """Tokens with a value each, to be coloured."""

    name: str
    tokens: tuple[str, ...]
    values: tuple[float, ...]
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Finding:
    """What an analyzer found in one view of a run."""

    analyzer: str
    view: str
    headline: str
    reading: str
    """How to read it, and what it does not show."""
    estimates: tuple[Estimate, ...] = ()
    arrays: Mapping[str, Shaped[Tensor, "..."]] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    strips: tuple[Strip, ...] = ()
    prompt: str | None = None


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; numbers are formatted already."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, eq=False)
class Report:
    """Everything to be shown of a run."""

    title: str
    verdict: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    findings: tuple[Finding, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    """Analyzers that could not answer, and why."""
    provenance: Mapping[str, str] = field(default_factory=dict)


def require_prompt(prompt: str | None, analyzer: str) -> str:
    """The prompt; an error that says how to give one."""
    if not prompt:
        raise UsageError(f'the analyzer {analyzer} needs a prompt: add --prompt "…"')
    return prompt
