"""The console script `sdelens`: its streams, signals and exit codes.

Nothing heavy is imported before signals are handled.
"""

import sys
from types import TracebackType
from typing import NoReturn

from sdelens_cli.interrupts import INTERRUPTED, interrupts

OURS = (
    r"importlib|contextlib|sdelens.(containment.contained|registry|registering|interfaces|settings"
    r"|runs.(run_analyzers|left_out|engine|run)|fitting.(fit|comparison)|estimation.ensemble"
    r"|testing.(validation|recovery))\.py$"
)
"""Files whose traceback lines are hidden from authors of plugins."""


def main() -> NoReturn:
    """Run the command line and end the process, with a code that no plugin can change."""
    interrupts.watch()

    from sdelens.containment.exits import leave, no_exit

    with no_exit():  # threads that plugins leave running included
        code = 1
        try:
            code = command()
        except BaseException:  # a fault of the program itself
            sys.excepthook(*sys.exc_info())
        leave(code)


def command() -> int:
    """Run the command line; failures print one sentence. Returns the exit code."""
    from sdelens.containment.exits import note_sudden_end
    from sdelens_cli.streams import lost_output, open_streams

    open_streams()
    try:
        with interrupts.raised():
            code = run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as error:
        # click's answer to a closed pipe
        code = 1 if isinstance(error.__context__, BrokenPipeError) else code_of(error)
    except BaseException as error:  # the panics of libraries in Rust are no Exceptions
        # an interrupt may come back as another error
        code = INTERRUPTED if interrupts.first is not None else code_of(error)
    interrupts.ignore()
    note_sudden_end()
    if interrupts.first is not None or code == INTERRUPTED:
        code = INTERRUPTED
        print(interrupts.line, file=sys.stderr)
    elif not code and (lost := lost_output()) is not None:
        code = code_of(lost)
    return code


def run() -> int:
    """Run the command of sys.argv; returns the exit code."""
    from sdelens_cli.commands import Abort, ClickException, Exit, app

    try:
        code = app(prog_name="sdelens", standalone_mode=False)
    except Exit as stop:
        return int(stop.exit_code)
    except Abort:
        return INTERRUPTED
    except ClickException as error:
        error.show()
        return int(error.exit_code)
    return code if isinstance(code, int) else 0


def code_of(error: BaseException) -> int:
    """The exit code of an error, after its sentence; raises the error if it is unexpected."""
    from sdelens.errors import (
        BadNumbers,
        BrokenPlugin,
        OutOfMemory,
        SdelensError,
        UsageError,
        scarcity,
        words_of,
    )

    if isinstance(error, SystemExit):  # of a plugin, where it was not expected to run code
        ended = f"a plugin tried to end the process: {words_of(error)}"
        return told(error, ended, BrokenPlugin.exit_code)
    if (lack := scarcity(error)) is not None:
        return told(error, lack, OutOfMemory.exit_code)
    if isinstance(error, SdelensError):
        # a plugin may have errors of its own, with a code that is none of ours
        known = error.exit_code in range(UsageError.exit_code, BadNumbers.exit_code + 1)
        return told(error, str(error), error.exit_code if known else BrokenPlugin.exit_code)
    if isinstance(error, OSError):
        sentence = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return told(error, sentence, UsageError.exit_code)
    raise error


def told(error: BaseException, sentence: str, code: int) -> int:
    """Print one sentence to stderr, after the traceback with --verbose; returns the code.

    For broken plugins, the plugin's own part of the traceback is always shown.
    """
    from sdelens.errors import BrokenPlugin, traceback_of

    if {"-v", "--verbose"} & set(sys.argv):
        print(traceback_of(error), end="", file=sys.stderr)
    elif isinstance(error, BrokenPlugin) and error.__cause__ and code == error.exit_code:
        cause = error.__cause__
        own = cause.with_traceback(own_part(cause.__traceback__))
        print(traceback_of(own, chain=False), end="", file=sys.stderr)
    print(f"Error: {sentence}", file=sys.stderr)
    return code


def own_part(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the lines that load and call a plugin."""
    import re

    while trace and trace.tb_next and re.search(OURS, trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace
