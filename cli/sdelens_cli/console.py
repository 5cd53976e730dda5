"""Consoles of rich that print no control characters of a text."""

import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from sdelens_cli.streams import escaped


class PlainConsole(Console):
    """A console for texts of any origin: no markup, emoji codes, links or control characters."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            if control:
                yield Segment(text, style, control)
            else:
                yield Segment(escaped(text), style.update_link(None) if style else None)


def console(*, err: bool = False, quiet: bool = False) -> Console:
    """The console of stdout or stderr."""
    file = sys.stderr if err else sys.stdout
    return PlainConsole(file=file, stderr=err, quiet=quiet, markup=False, emoji=False)


def spinner(where: Console) -> str:
    """The name of a spinner whose signs the encoding of a console has."""
    return "dots" if where.encoding.startswith("utf") else "line"
