"""Draws a `Figure` with matplotlib: once, to be saved as PNG and SVG or embedded in a page."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import BytesIO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.figure import SubFigure

from sdelens.report import Figure
from sdelens_plugins.reporters.figures.axis_labels import label_axes
from sdelens_plugins.reporters.figures.csv_file import from_csv, to_csv
from sdelens_plugins.reporters.figures.heights import height_of
from sdelens_plugins.reporters.figures.layout import align_rows, grid_of, shared_limits
from sdelens_plugins.reporters.figures.legend import add_legend, panels_with_legend
from sdelens_plugins.reporters.figures.panel import draw_panel
from sdelens_plugins.reporters.figures.style import INK, figure_style
from sdelens_plugins.reporters.figures.words import label_words

RECENT = 100
"""Drawings kept in memory, so that a report embeds what was saved with its findings."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure on a canvas. Each panel has a part of the canvas, its subfigure, to itself."""

    figure: Figure
    canvas: Canvas
    subfigures: tuple[SubFigure, ...]

    def png(self, *, dpi: int = 200) -> bytes:
        """The figure on a white background."""
        sink = BytesIO()
        with figure_style():
            self.canvas.savefig(sink, format="png", dpi=dpi, facecolor="white")
        return sink.getvalue()

    @cached_property
    def svg(self) -> str:
        """The figure on a white background, as a stand-alone file; equal figures, equal bytes."""
        text = self.raw_svg.replace(INK, "#1a1a1a")
        return text.replace("'DejaVu Sans'", "'DejaVu Sans', sans-serif")

    @cached_property
    def raw_svg(self) -> str:
        """The SVG in which the colours of the style can be replaced; no date or program name."""
        sink, omitted = BytesIO(), dict.fromkeys(("Creator", "Date", "Format", "Type"))
        with figure_style():
            self.canvas.savefig(sink, format="svg", metadata=omitted, facecolor="white")
        return sink.getvalue().decode()


def drawing_of(figure: Figure) -> Drawing:
    """The drawing of a figure, made from its CSV; equal figures are drawn once per process."""
    return _drawing_of_csv(to_csv(figure))


@lru_cache(maxsize=RECENT)
def _drawing_of_csv(text: str) -> Drawing:
    return draw(from_csv(text))


def draw(figure: Figure) -> Drawing:
    """Draw all panels and fix their layout."""
    panels = figure.panels
    with figure_style():
        legends = panels_with_legend(panels)
        heights = [height_of(p, legend=legend) for p, legend in zip(panels, legends, strict=True)]
        canvas, subfigures = grid_of(panels, heights)
        limits = shared_limits(figure)
        for subfigure, panel, legend in zip(subfigures, panels, legends, strict=True):
            draw_panel(subfigure.subplots(), panel, limits)
            label_axes(subfigure, panel)
            if legend:
                add_legend(subfigure, panel)
        FigureCanvasAgg(canvas)
        canvas.draw_without_rendering()  # words can be measured once the layout is fixed
        canvas.set_layout_engine("none")
        align_rows(panels, subfigures)
        for subfigure, panel in zip(subfigures, panels, strict=True):
            label_words(subfigure.axes[0], panel)
    return Drawing(figure, canvas, subfigures)
