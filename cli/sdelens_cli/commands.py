"""The commands of the console script `sdelens`."""

from typing import Any

import typer
from typer.core import TyperCommand

from sdelens_cli.analyze import analyze
from sdelens_cli.branch import branch
from sdelens_cli.cache import cache
from sdelens_cli.compare import compare
from sdelens_cli.examples import EXAMPLES
from sdelens_cli.fit import FitHelp, fit
from sdelens_cli.generate import generate
from sdelens_cli.help_page import HelpCommand
from sdelens_cli.models import models
from sdelens_cli.plugins import plugins
from sdelens_cli.report import report
from sdelens_cli.reproduce import reproduce
from sdelens_cli.simulate import simulate
from sdelens_cli.validate import validate

Abort, Exit = typer.Abort, typer.Exit
# the root of usage errors in the click that typer uses, which some versions bring themselves
ClickException: type[Any] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="sdelens",
    help="Fit stochastic differential equations to language-model dynamics, and analyze the fit.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command(cls=FitHelp)(fit)
app.command()(analyze)
app.command()(report)
app.command()(compare)
app.command()(simulate)
app.command()(generate)
app.command()(reproduce)
app.command()(branch)
app.command()(validate)
GROUPS = {"cache": cache, "models": models, "plugins": plugins}
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


def add_help(prefix: str, commands: typer.Typer) -> None:
    """Give each command its examples, and a help page that shows them."""
    for info in commands.registered_commands:
        own = info.name or getattr(info.callback, "__name__", "")
        info.epilog = "\n".join(EXAMPLES[f"{prefix} {own}".strip()])
        if info.cls in (None, TyperCommand):
            info.cls = HelpCommand


add_help("", app)
for name, group in GROUPS.items():
    add_help(name, group)


@app.callback(invoke_without_command=True)
def root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Fit stochastic differential equations to language-model dynamics, and analyze the fit."""
    if version:
        from importlib.metadata import version as installed

        print(installed("sdelens"))
        raise typer.Exit
