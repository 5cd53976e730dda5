"""The option `--plugin FILE` of all commands."""

from pathlib import Path
from typing import Annotated

import typer

from sdelens.registering import load_file

PluginFiles = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="Python file that registers plugins. Repeatable."),
]
ReporterName = Annotated[str, typer.Option(help="Reporter that writes the page.")]
PAGE = "html"
"""The default reporter of commands that write a page."""


def use(files: list[Path] | None) -> None:
    """Execute the files, which register plugins for this process."""
    for file in files or []:
        load_file(file)
