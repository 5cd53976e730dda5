"""`--plugin FILE`: plugins that are files, of any command."""

from pathlib import Path
from typing import Annotated

import typer

from sdelens.registering import load_file

PluginFiles = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="A Python file that registers plugins. Repeatable."),
]
ReporterName = Annotated[str, typer.Option(help="How it is written.")]
PAGE = "html"
"""The reporter of commands that write a page."""


def use(files: list[Path] | None) -> None:
    """Execute the files; their plugins are there until the process ends."""
    for file in files or []:
        load_file(file)
