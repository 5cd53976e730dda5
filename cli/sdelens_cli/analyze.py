"""`sdelens analyze`: ask a fitted run questions."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from sdelens.registry import plugin
from sdelens.settings import parse_assignments


def analyze(
    run: Annotated[Path, typer.Argument(help="A folder that sdelens fit wrote.")],
    analyzer: Annotated[
        list[str] | None, typer.Option(help="Which one; repeatable. [all that apply]")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="A text to look at.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting: trajectory.tokens=30.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print paths only.")] = False,
) -> None:
    """Ask analyzers about a run: findings, figures and their data go into its folder."""
    for name in analyzer or []:
        plugin("analyzer", name)
    settings = parse_assignments(set_ or [])
    for name in settings:
        plugin("analyzer", name)

    from sdelens_cli.screen import Screen, finding_json, open_run

    from sdelens.reporting import analyze as ask
    from sdelens.reporting import finding_folder

    opened = open_run(run)
    screen = Screen(quiet=quiet)
    with screen.working("analyze") as now:
        findings, failures = ask(
            opened,
            analyzer or (),
            prompt=prompt,
            settings=settings,
            watch=lambda name, view: now(f"{name} {view}"),
        )
    if as_json:
        print(json.dumps({"run": str(run), "findings": [finding_json(f) for f in findings]}))
        return
    screen.findings([(f, finding_folder(opened, f)) for f in findings])
    for name, reason in failures.items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    if not quiet:
        print(f"\nnext: sdelens report {run}", file=sys.stderr)
