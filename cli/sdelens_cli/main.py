"""The console script `sdelens`: commands and exit codes."""

import os
import re
import signal
import sys
import traceback
from types import TracebackType
from typing import Any, NoReturn

import typer

from sdelens.errors import (
    BadNumbers,
    BrokenPlugin,
    OutOfMemory,
    SdelensError,
    UsageError,
    disk_is_full,
    ran_out,
    words_of,
)
from sdelens_cli.analyze import analyze
from sdelens_cli.branch import branch
from sdelens_cli.cache import cache
from sdelens_cli.compare import compare
from sdelens_cli.fit import fit
from sdelens_cli.generate import generate
from sdelens_cli.plugins import plugins
from sdelens_cli.report import report
from sdelens_cli.reproduce import reproduce
from sdelens_cli.simulate import simulate
from sdelens_cli.validate import validate

INTERRUPTED = 130
OURS = re.compile(
    r"importlib|contextlib|sdelens.(containment.contained|registry|registering|interfaces|settings"
    r"|runs.(reporting|left_out|engine|run)|fitting.(fit|comparison)|estimation.ensemble"
    r"|testing.(validation|recovery))\.py$"
)
"""Files whose traceback lines are hidden from authors of plugins."""
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
app.command()(fit)
app.command()(analyze)
app.command()(report)
app.command()(compare)
app.command()(simulate)
app.command()(generate)
app.command()(reproduce)
app.command()(branch)
app.command()(validate)
app.add_typer(cache, name="cache")
app.add_typer(plugins, name="plugins")


@app.callback(invoke_without_command=True)
def root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Fit stochastic differential equations to language-model dynamics, and analyze the fit."""
    if version:
        from importlib.metadata import version as installed

        print(installed("sdelens"))
        raise typer.Exit


def main() -> NoReturn:
    """Run the command line; failures print one sentence and set the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = app(prog_name="sdelens", standalone_mode=False)
        if code == INTERRUPTED:  # as typer says that it was interrupted
            raise KeyboardInterrupt
    except typer.Exit as stop:
        leave(stop.exit_code)
    except ClickException as error:
        error.show()
        leave(error.exit_code)
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # click's answer to a closed pipe
            raise
        # of a plugin, where it was not expected to run code
        ended = f"a plugin tried to end the process: {words_of(error)}"
        fail(error, ended, BrokenPlugin.exit_code)
    except SdelensError as error:
        # a plugin may have errors of its own, with a code that is none of ours
        known = error.exit_code in range(UsageError.exit_code, BadNumbers.exit_code + 1)
        fail(error, str(error), error.exit_code if known else BrokenPlugin.exit_code)
    except OSError as error:
        fail(error, *system_error(error))
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        advice = "use fewer layers at once, a shorter --length, or --device cpu"
        fail(error, f"memory ran out: {advice}", OutOfMemory.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        print("Interrupted. Finished parts are kept: continue with --resume.", file=sys.stderr)
        leave(INTERRUPTED)
    leave(code if isinstance(code, int) else 0)


def system_error(error: OSError) -> tuple[str, int]:
    """Message and exit code of a system error: a full disk, or an invalid path."""
    said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return said, (OutOfMemory if disk_is_full(error) else UsageError).exit_code


def fail(error: BaseException, sentence: str, code: int) -> NoReturn:
    """Print one sentence to stderr, after the traceback with --verbose.

    For broken plugins, the plugin's own part of the traceback is always shown.
    """
    if {"-v", "--verbose"} & set(sys.argv):
        traceback.print_exception(error)
    elif isinstance(error, BrokenPlugin) and error.__cause__:
        cause = error.__cause__
        traceback.print_exception(cause.with_traceback(own_part(cause.__traceback__)), chain=False)
    print(f"Error: {sentence}", file=sys.stderr)
    leave(code)


def own_part(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the lines that load and call a plugin."""
    while trace and trace.tb_next and OURS.search(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def leave(code: int) -> NoReturn:
    """Exit with a code; a closed pipe is not an error."""
    try:
        if sys.stdout and not sys.stdout.closed:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
