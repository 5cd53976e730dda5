"""`sdelens plugins`: list, describe, create and check plugins."""

import json
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import getdoc, getfile
from typing import Annotated, Any

import typer

from sdelens.errors import UnknownName
from sdelens.registry import KINDS, Plugin
from sdelens.registry import plugins as known
from sdelens.settings import named
from sdelens_cli.check_plugin import check
from sdelens_cli.json_output import AsJson, print_json
from sdelens_cli.new_plugin import new
from sdelens_cli.plugin_files import PluginFiles, use

plugins = typer.Typer(
    help="Models, sources, probes, noise, analyzers, reporters.", no_args_is_help=True
)
plugins.command()(new)
plugins.command()(check)


@plugins.callback()
def root() -> None:
    """Models, sources, probes, noise families, analyzers and reporters."""


@plugins.command("list")
def list_(
    files: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """List all plugins with their distributions, without importing them."""
    use(files)
    rows = [row(plugin) for kind in KINDS for plugin in known(kind).values()]
    if as_json:
        print_json({"plugins": rows})
        return
    width = max(len(str(row["name"])) for row in rows) + 2
    for one in rows:
        whose = one["problem"] or f"{one['distribution']} {one['version']}"
        print(f"{one['kind']:<10}{one['name']:<{width}}{whose}")


def row(plugin: Plugin) -> dict[str, str | None]:
    """Facts about a plugin that need no import."""
    return {
        "kind": plugin.kind,
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "entry_point": plugin.target,
        "problem": plugin.problem,
    }


@plugins.command()
def info(
    name: Annotated[str, typer.Argument(help="A plugin's name.")],
    files: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """Describe a plugin: distribution, file, description and settings."""
    use(files)
    found = [plugin for kind in KINDS for key, plugin in known(kind).items() if key == name]
    if not found:
        names = {key for kind in KINDS for key in known(kind)}
        raise UnknownName.among("plugin", name, names, "See: sdelens plugins list")
    described = [about(plugin) for plugin in found]
    if as_json:
        print_json({"plugins": described})
        return
    for one in described:
        show(one)


def about(plugin: Plugin) -> dict[str, Any]:
    """Facts about an imported plugin."""
    from sdelens.declarations import class_attributes
    from sdelens.interfaces import REQUIRED, api_of, checked

    kept = checked(plugin)
    if plugin.kind == "noise":
        attributes = {"usage": kept.usage}
    else:
        attributes = class_attributes(kept, REQUIRED[plugin.kind])
    said = {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in attributes.items()
    }
    return row(plugin) | {
        "api": api_of(kept),
        "file": getfile(kept),
        "about": getdoc(kept) or "",
        **said,
        "settings": [setting(f) for f in fields(kept) if f.init] if is_dataclass(kept) else [],
    }


def setting(field: "Field[Any]") -> dict[str, Any]:
    """Name, type and default of a field; no default if it is required."""
    default = {} if field.default is MISSING else {"default": field.default}
    return {"name": field.name, "type": named(field.type)} | default


def show(one: dict[str, Any]) -> None:
    """Print distribution, description and settings."""
    print(f"{one['kind']} {one['name']}: {one['distribution']} {one['version']}, api {one['api']}")
    print(f"{one['entry_point']} in {one['file']}\n\n{one['about']}\n")
    for name in ("scope", "needs", "wants", "densities"):
        if one.get(name):
            value = one[name] if isinstance(one[name], str) else ", ".join(one[name])
            print(f"{name:<10}{value}")
    if one["kind"] == "noise":
        print(f"--set probe.noise={one['usage']}")
        return
    label = one["name"] if one["kind"] == "analyzer" else one["kind"]
    for each in one["settings"]:
        value = json.dumps(each["default"], default=str) if "default" in each else "…"
        print(f"--set {label}.{each['name']}={value}  ({each['type']})")
