"""`sdelens branch`: the model's own next-state law."""

from pathlib import Path
from typing import Annotated

import typer

from sdelens.runs.folder import require_run
from sdelens_cli.json_output import AsJson, print_json


def branch(
    run: Annotated[Path, typer.Argument(help="Folder written by sdelens fit.")],
    documents: Annotated[
        int, typer.Option(min=1, help="Maximum number of held-out documents.")
    ] = 256,
    branches: Annotated[int, typer.Option(help="Next tokens sampled after each prefix.")] = 2,
    coverage: Annotated[
        float,
        typer.Option(help="Enumerate the most likely tokens up to this probability; 1 is all."),
    ] = 0.0,
    every: Annotated[int, typer.Option(help="Use the prefix at every n-th position.")] = 1,
    memory: Annotated[int, typer.Option(help="MiB for states, cache and laws of a batch.")] = 256,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print paths only.")] = False,
) -> None:
    """Sample next tokens after held-out prefixes: the model's own law of the next state."""
    require_run(run)

    from sdelens.runs.run import Run
    from sdelens.runs.run_analyzers import analyze as ask
    from sdelens.runs.saved_findings import finding_folder
    from sdelens_cli.screen import Screen, finding_json

    settings = {
        "documents": documents,
        "branches": branches,
        "coverage": coverage,
        "every": every,
        "memory": memory,
    }
    opened, screen = Run(run), Screen(quiet=quiet or as_json)
    with screen.working("branch") as now:
        findings, _ = ask(
            opened,
            ["transition_law"],
            settings={"transition_law": settings},
            watch=lambda name, view: now(f"{name} {view}"),
        )
    if as_json:
        found = [finding_json(finding) for finding in findings]
        print_json({"run": str(run), "findings": found})
        return
    screen.findings([(finding, finding_folder(opened, finding)) for finding in findings])
    screen.next("analyze", run, "decomposition")
