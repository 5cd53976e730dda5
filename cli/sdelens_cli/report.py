"""`sdelens report`: one page about a run."""

from pathlib import Path
from typing import Annotated

import typer

from sdelens.registry import plugin


def report(
    run: Annotated[Path, typer.Argument(help="A folder that sdelens fit wrote.")],
    reporter: Annotated[str, typer.Option(help="How it is written.")] = "html",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the path only.")] = False,
) -> None:
    """Write the report of a run; analyses that are missing are made first."""
    plugin("reporter", reporter)

    from sdelens_cli.screen import Screen, open_run

    from sdelens.registry import load
    from sdelens.reporting import analyze, findings_of, report_of

    opened = open_run(run)
    screen = Screen(quiet=quiet)
    failures: dict[str, str] = {}
    if not findings_of(opened):
        with screen.working("analyze") as now:
            _, failures = analyze(opened, watch=lambda name, view: now(f"{name} {view}"))
    written = load("reporter", reporter)().render(report_of(opened, failures), opened.folder)
    print(written)
