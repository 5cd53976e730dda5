"""`sdelens plugins check`: conformance checks of plugins."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sdelens.errors import BrokenPlugin, UnknownName, UsageError
from sdelens.registering import load_file
from sdelens.registry import KINDS, Plugin
from sdelens.registry import plugins as known
from sdelens.settings import build, parse_assignments
from sdelens_cli.plugin_files import PluginFiles, use

CHECKED = ("source", "probe", "analyzer")


def check(
    target: Annotated[str, typer.Argument(help="Name of a plugin, or a Python file.")],
    kind: Annotated[
        str | None, typer.Option(help="Kind of the plugin, if several share the name.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting: probe.epochs=2. Repeatable."),
    ] = None,
    no_recovery: Annotated[
        bool,
        typer.Option(
            "--no-recovery",
            help="Skip the recovery check, for probes without a state-dependent drift.",
        ),
    ] = False,
    files: PluginFiles = None,
) -> None:
    """Check that a plugin meets the requirements of its kind; exits with 6 and a list if not."""
    use(files)
    found = chosen(target, kind)
    settings = parse_assignments(set_ or [])

    from sdelens.interfaces import checked

    for plugin in found:
        made = checked(plugin)
        label = plugin.name if plugin.kind == "analyzer" else plugin.kind
        one = build(made, settings.pop(label, {}), plugin.name)
        verdict(plugin, one, {"recovers": False} if no_recovery else {})
    if settings:
        raise UsageError(f"--set {min(settings)}.* names no checked plugin")


def chosen(target: str, kind: str | None) -> list[Plugin]:
    """The plugins of a file, or those of that name, of kinds that can be checked."""
    if target.endswith(".py") or "/" in target:
        found = list(load_file(Path(target)))
    else:
        kinds = KINDS if kind is None else (kind,)
        found = [known(of)[target] for of in kinds if of in KINDS and target in known(of)]
        if not found:
            names = {name for of in CHECKED for name in known(of)}
            raise UnknownName.among("plugin", target, names, "See: sdelens plugins list")
    checked = [plugin for plugin in found if plugin.kind in CHECKED]
    if not checked:
        raise UsageError(
            f"plugins check supports {', '.join(CHECKED)} plugins, but {target} is a "
            f"{found[0].kind} plugin"
        )
    return checked


def verdict(plugin: Plugin, made: Any, options: dict[str, bool]) -> None:
    """A sentence if all requirements are met; raises an error that lists violations."""
    from sdelens.testing.conformance import CHECKS

    try:
        CHECKS[plugin.kind](made, **options if plugin.kind == "probe" else {})
    except AssertionError as error:
        raise BrokenPlugin(str(error)) from None
    print(f"{plugin.kind} {plugin.name} passes all checks")
