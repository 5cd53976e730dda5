"""`sdelens plugins`: what is installed."""

import json
from typing import Annotated

import typer

from sdelens.registry import KINDS
from sdelens.registry import plugins as installed

plugins = typer.Typer(help="Models, sources, probes, analyzers, reporters.", no_args_is_help=True)


@plugins.callback()
def root() -> None:
    """Models, sources, probes, analyzers and reporters."""


@plugins.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Every plugin with its distribution; none of them is imported."""
    rows = [
        {
            "kind": plugin.kind,
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "entry_point": plugin.entry.value,
        }
        for kind in KINDS
        for plugin in installed(kind).values()
    ]
    if as_json:
        print(json.dumps({"plugins": rows}))
        return
    width = max(len(row["name"]) for row in rows) + 2
    for row in rows:
        print(f"{row['kind']:<10}{row['name']:<{width}}{row['distribution']} {row['version']}")
