"""`sdelens plugins new`: a plugin template, as a distribution or a single file."""

import re
import sys
from enum import StrEnum
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from sdelens.errors import UsageError
from sdelens.registry import API, plugins
from sdelens_cli.streams import inline
from sdelens_cli.suggestions import command

TEMPLATES = Path(__file__).parent / "templates"
NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")


class Kind(StrEnum):
    """Kinds of plugins with templates."""

    analyzer = "analyzer"
    probe = "probe"
    source = "source"


def new(
    name: Annotated[str, typer.Argument(help="Name in lower case, as in mean_speed.")],
    kind: Annotated[Kind, typer.Option(help="Kind of plugin.")] = Kind.analyzer,
    single_file: Annotated[
        bool,
        typer.Option(
            "--single-file", help="A single file for --plugin instead of a distribution."
        ),
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path(),
) -> None:
    """Write a working plugin: a single file, or a distribution with a test. Works offline."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"a plugin's name must be lower-case words joined by - or _, got {name!r}"
        )
    if name in plugins(kind.value):
        raise UsageError(f"the {kind.value} {name} exists already: choose another name")
    words = words_of(name, kind)
    folder = out if single_file else out / words["distribution"]
    stem = name.replace("-", "_") if single_file else words["module"]
    files = {folder / f"{stem}.py": filled(f"{kind}.py", words)}
    if not single_file:
        files |= {
            folder / "pyproject.toml": filled("pyproject.toml", words),
            folder / f"test_{stem}.py": filled("test.py", words),
            folder / "README.md": filled("README.md", words),
        }
    for file in files:
        if file.exists():
            raise UsageError(f"{file} exists: choose another name or --out")
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        print(inline(file))
    first = next(iter(files))
    print(f"\nnext: {command('plugins', 'check', first)}", file=sys.stderr)


def words_of(name: str, kind: Kind) -> dict[str, str]:
    """Values for the placeholders of a template."""
    plain = name.replace("-", "_")
    title = "".join(word.capitalize() for word in plain.split("_"))
    return {
        "name": name,
        "kind": kind.value,
        "group": f"sdelens.{kind}s",
        "distribution": f"sdelens-{name.replace('_', '-')}",
        "module": f"sdelens_{plain}",
        "title": f"{title}{kind.capitalize()}",
        "api": str(API),
    }


def filled(template: str, words: dict[str, str]) -> str:
    """The text of a template."""
    text = (TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(words)
