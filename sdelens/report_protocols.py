"""Optional protocols of analyzers and reporters, which a report uses if they are implemented."""

from typing import Any, ClassVar, Protocol, runtime_checkable

from sdelens.protocols import Analyzer, AnyStudy, Reporter
from sdelens.report import Figure, Report


@runtime_checkable
class QuestionAnalyzer(Analyzer[AnyStudy], Protocol[AnyStudy]):
    """Names the section of the report for its findings; those of others come last."""

    answers: ClassVar[str] = "Is it stable?"
    """A question: one of `sdelens.summary.QUESTIONS`, or one of its own."""


@runtime_checkable
class FigureReporter(Reporter, Protocol):
    """Saves the figures of a run's findings, and returns one as SVG for a notebook."""

    def svg(self, figure: Figure) -> str:
        """The figure as an SVG document."""


@runtime_checkable
class MatplotlibReporter(Reporter, Protocol):
    """Draws a figure with matplotlib, so that a user can change it."""

    def axes(self, figure: Figure) -> list[Any]:
        """The axes of a new drawing, one for each panel."""


@runtime_checkable
class PageReporter(Reporter, Protocol):
    """Writes a report unless another reporter is named, and returns it for a notebook."""

    def page(self, report: Report) -> str:
        """The page as an HTML document."""
