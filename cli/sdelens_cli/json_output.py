"""The option `--json`: one JSON object on stdout, and everything else on stderr."""

import json
import os
import sys
from typing import Annotated, Any

import typer

from sdelens_cli.streams import Printable, Steady, loss_of

_results: Any = None
"""The stream of the results; None is stdout."""


def reserve(context: typer.Context, asked: bool) -> bool:
    """With --json, keep stdout for the results and divert what libraries and plugins print.

    The file descriptor itself is redirected, until the process ends, so that this applies to C
    libraries, to child processes and to what is printed at exit.
    """
    global _results
    out: Any = sys.stdout
    _results = out if asked else None
    if not asked or out is None:
        return asked
    stream = out.rich_proxied_file.stream if isinstance(out, Printable) else out
    if stream is not sys.__stdout__:  # another program, or a test, replaced it
        sys.stdout = sys.stderr
        context.call_on_close(lambda: setattr(sys, "stdout", out))
        return asked
    out.flush()
    _results = Steady(os.fdopen(os.dup(out.fileno()), "w", encoding=out.encoding))
    try:
        os.dup2(2, out.fileno())
    except OSError:  # stderr is closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    return asked


def print_json(value: Any) -> None:
    """Print the results; values of other types are printed as text."""
    print(json.dumps(value, allow_nan=False, default=str), file=_results, flush=True)
    if (lost := loss_of(_results)) is not None:
        raise lost


AsJson = Annotated[
    bool,
    typer.Option("--json", help="One JSON object on stdout.", callback=reserve, is_eager=True),
]
