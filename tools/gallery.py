"""Write docs/gallery.md: every figure of every analyzer, for the embedded model.

python tools/gallery.py            fit and analyze unfinished runs, then write
python tools/gallery.py write      write from existing runs
"""

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from PIL import Image

from sdelens.report import Figure, Finding
from sdelens.runs.run import Run
from sdelens.runs.saved_findings import findings_of
from sdelens_plugins.reporters.figures.drawing import drawing_of
from sdelens_plugins.reporters.figures.reporter import file_stem

DOCS = Path(__file__).parents[1] / "docs"
PAGE, IMAGES = DOCS / "gallery.md", DOCS / "images" / "gallery"
RUNS = Path("runs") / "gallery"
DPI = 90
COLOURS = 64
TOP = """\
# Gallery

This page has every figure of every built-in [analyzer](plugins.md#analyzers), from fits to states
of the embedded model along texts sampled from it. Each section has the result, what each figure
shows, how to read it, and what it does not show. `make gallery` generates this page. A run stores
each figure as PNG and SVG, and its numbers as CSV.
"""


@dataclass(frozen=True)
class GalleryRun:
    """A run of the gallery: its options, its analyzers and a pattern of figure names.

    Without analyzers, it includes all that are not included from another run.
    """

    name: str
    options: tuple[str, ...]
    analyzers: tuple[str, ...] = ()
    figures: str = "*"

    def has(self, finding: Finding) -> bool:
        """Whether the gallery includes the finding from this run."""
        if self.analyzers:
            return finding.analyzer in self.analyzers
        elsewhere = {name for run in GALLERY if run.figures == "*" for name in run.analyzers}
        return finding.analyzer not in elsewhere


GALLERY = (
    GalleryRun("block", ("--layer", "6")),
    GalleryRun(
        "ensemble",
        ("--layer", "6", "--probe", "linear", "--ensemble", "4"),
        ("uncertainty",),
        "epistemic*",
    ),
    GalleryRun(
        "layers",
        ("--layer", "all", "--probe", "linear"),
        ("layers", "decomposition", "transition_law"),
    ),
    GalleryRun(
        "depth", ("--axis", "layer", "--probe", "linear", "--documents", "256"), ("layers",)
    ),
)


def make(run: GalleryRun) -> None:
    """Fit and analyze a run, unless it is finished."""
    folder = RUNS / run.name
    _sdelens("fit", *run.options, "--out", str(folder), "--resume")
    if not findings_of(Run(folder)):
        _sdelens("analyze", str(folder), *run.analyzers)


def _sdelens(*words: str) -> None:
    subprocess.run([Path(sys.executable).with_name("sdelens"), *words], check=True)


def page() -> str:
    """Text of the page; its images are written to `IMAGES`."""
    shutil.rmtree(IMAGES, ignore_errors=True)
    IMAGES.mkdir(parents=True)
    parts = [TOP]
    for run in GALLERY:
        for finding in filter(run.has, findings_of(Run(RUNS / run.name))):
            parts += section(finding, run.figures)
    return "\n".join(parts)


def section(finding: Finding, pattern: str) -> Iterator[str]:
    """Parts of a section: heading, headline, figures with captions, and how to read them."""
    figures = [figure for figure in finding.figures if fnmatch(figure.name, pattern)]
    own = f"analyzers/{finding.analyzer}.md"
    yield f"## {finding.analyzer}, {finding.view}\n"
    yield f"{escaped(finding.headline)} ([formulas and settings]({own}))\n"
    for figure in figures:
        file = picture(finding, figure)
        yield f"![{finding.analyzer}: {figure.name}]({file.relative_to(DOCS)})\n"
        yield f"*{figure.name}.* {escaped(figure.caption)}\n"
    yield f"**How to read it.** {escaped(finding.reading)}\n"


def picture(finding: Finding, figure: Figure) -> Path:
    """Write a small PNG of a figure with few colours; return its path."""
    file = IMAGES / f"{file_stem(finding, figure)}.png"
    image = Image.open(io.BytesIO(drawing_of(figure).png(dpi=DPI))).convert("RGB")
    image.quantize(COLOURS).save(file, optimize=True)
    return file


def escaped(text: str) -> str:
    """Text with Markdown characters escaped."""
    return re.sub(r"([*_<>`\[\]|])", r"\\\1", text)


def main(words: list[str]) -> None:
    """Make the runs unless only writing is requested, then write the page."""
    if words not in ([], ["write"]):
        raise SystemExit(__doc__)
    if not words:
        for run in GALLERY:
            make(run)
    PAGE.write_text(page())


if __name__ == "__main__":
    main(sys.argv[1:])
