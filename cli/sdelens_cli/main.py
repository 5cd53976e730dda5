"""The console script `sdelens`: commands, and exit codes for what goes wrong."""

import os
import sys
import traceback
from typing import NoReturn

import typer
from sdelens_cli.analyze import analyze
from sdelens_cli.fit import fit
from sdelens_cli.plugins import plugins
from sdelens_cli.report import report

from sdelens.errors import BrokenPlugin, SdelensError

INTERRUPTED = 130
# the root of usage errors in the click that typer uses, which some versions bring themselves
ClickException = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="sdelens",
    help="Fit stochastic differential equations to language-model dynamics, and question the fit.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(fit)
app.command()(analyze)
app.command()(report)
app.add_typer(plugins, name="plugins")


@app.callback(invoke_without_command=True)
def root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    """Fit stochastic differential equations to language-model dynamics, and question the fit."""
    if version:
        from importlib.metadata import version as installed

        print(installed("sdelens"))
        raise typer.Exit


def main() -> NoReturn:
    """Run the command line; every failure meant for the user is one sentence and a code."""
    try:
        code = app(standalone_mode=False)
    except typer.Exit as stop:
        leave(stop.exit_code)
    except ClickException as error:
        error.show()
        leave(error.exit_code)
    except SdelensError as error:
        if isinstance(error, BrokenPlugin):
            traceback.print_exception(error.__cause__)
        print(f"Error: {error}", file=sys.stderr)
        leave(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        print("Interrupted. What was finished is kept: --resume goes on.", file=sys.stderr)
        leave(INTERRUPTED)
    leave(code if isinstance(code, int) else 0)


def leave(code: int) -> NoReturn:
    """Exit with a code; a closed pipe at the other end is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
