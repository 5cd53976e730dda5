"""The page docs/gallery.md: every figure of every analyzer, on the embedded model.

python tools/gallery.py            fit and ask where it was not done yet, then write
python tools/gallery.py write      from runs that are there
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
from sdelens.runs.reporting import findings_of
from sdelens.runs.run import Run
from sdelens_plugins.reporters.figures.drawing import drawing_of
from sdelens_plugins.reporters.figures.reporter import file_stem

DOCS = Path(__file__).parents[1] / "docs"
PAGE, IMAGES = DOCS / "gallery.md", DOCS / "images" / "gallery"
RUNS = Path("runs") / "gallery"
DPI = 90
COLOURS = 64
TOP = """\
# Gallery

Every figure of every built-in [analyzer](plugins.md#analyzers), from fits of the embedded model
to texts sampled from it: the result, what each figure shows, how to read it, and what it does not
show. `make gallery` generates this page. A run stores each figure as PNG and SVG, and its numbers
as CSV.
"""


@dataclass(frozen=True)
class Shown:
    """A run of the gallery: its options, the analyzers shown of it, and patterns of figures.

    With no analyzer named, all that are not shown of another run.
    """

    name: str
    options: tuple[str, ...]
    analyzers: tuple[str, ...] = ()
    figures: str = "*"

    def has(self, finding: Finding) -> bool:
        """Whether the finding is shown of this run."""
        if self.analyzers:
            return finding.analyzer in self.analyzers
        elsewhere = {name for shown in SHOWN if shown.figures == "*" for name in shown.analyzers}
        return finding.analyzer not in elsewhere


SHOWN = (
    Shown("block", ("--layer", "6")),
    Shown(
        "ensemble",
        ("--layer", "6", "--probe", "linear", "--ensemble", "4"),
        ("uncertainty",),
        "epistemic*",
    ),
    Shown(
        "layers",
        ("--layer", "all", "--probe", "linear"),
        ("layers", "decomposition", "transition_law"),
    ),
    Shown("depth", ("--axis", "layer", "--probe", "linear", "--documents", "256"), ("layers",)),
)


def made(shown: Shown) -> Path:
    """The run, fitted and asked where it is not yet."""
    folder = RUNS / shown.name
    _sdelens("fit", *shown.options, "--out", str(folder), "--resume")
    if not findings_of(Run(folder)):
        _sdelens("analyze", str(folder), *shown.analyzers)
    return folder


def _sdelens(*words: str) -> None:
    subprocess.run([Path(sys.executable).with_name("sdelens"), *words], check=True)


def page() -> str:
    """The page's text; its pictures are written beside it."""
    shutil.rmtree(IMAGES, ignore_errors=True)
    IMAGES.mkdir(parents=True)
    parts = [TOP]
    for shown in SHOWN:
        for finding in filter(shown.has, findings_of(Run(RUNS / shown.name))):
            parts += section(finding, shown.figures)
    return "\n".join(parts)


def section(finding: Finding, pattern: str) -> Iterator[str]:
    """Heading, headline, figures with their captions, how to read them."""
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
    """A small PNG of a figure, in few colours."""
    file = IMAGES / f"{file_stem(finding, figure)}.png"
    image = Image.open(io.BytesIO(drawing_of(figure).png(dpi=DPI))).convert("RGB")
    image.quantize(COLOURS).save(file, optimize=True)
    return file


def escaped(text: str) -> str:
    """Text in which Markdown finds no marks."""
    return re.sub(r"([*_<>`\[\]|])", r"\\\1", text)


def main(words: list[str]) -> None:
    """Make the runs unless they are only to be written down."""
    if words not in ([], ["write"]):
        raise SystemExit(__doc__)
    if not words:
        for shown in SHOWN:
            made(shown)
    PAGE.write_text(page())


if __name__ == "__main__":
    main(sys.argv[1:])
