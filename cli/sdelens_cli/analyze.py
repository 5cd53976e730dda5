"""`sdelens analyze`: run analyzers on a fitted run."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdelens.errors import UsageError
from sdelens.registry import plugin
from sdelens.runs.folder import require_run
from sdelens.settings import parse_assignments
from sdelens_cli.json_output import AsJson, print_json
from sdelens_cli.plugin_files import PluginFiles, use
from sdelens_cli.prompt import checked_prompt

if TYPE_CHECKING:
    from sdelens.report import Finding
    from sdelens.runs.left_out import LeftOut
    from sdelens.runs.run import Run
    from sdelens_cli.screen import Screen


def analyze(
    run: Annotated[Path, typer.Argument(help="Folder written by sdelens fit.")],
    names: Annotated[
        list[str] | None, typer.Argument(help="Analyzers to run. [all that apply]")
    ] = None,
    analyzer: Annotated[
        list[str] | None, typer.Option(help="Analyzer to run; repeatable.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(callback=checked_prompt, help="Prompt to analyze.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting: trajectory.tokens=30.")
    ] = None,
    files: PluginFiles = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Keep finished findings, for example of an interrupted analysis."
        ),
    ] = False,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Measure less, for a first look: errors are wider."),
    ] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print paths only.")] = False,
) -> None:
    """Run analyzers on a run; findings, figures and their data are saved in its folder."""
    require_run(run)
    use(files)
    settings, chosen = parse_assignments(set_ or []), [*(names or []), *(analyzer or [])]
    for name in [*chosen, *settings]:
        plugin("analyzer", name)
    if chosen and (idle := settings.keys() - set(chosen)):
        raise UsageError(f"--set {min(idle)}.* names an analyzer that was not requested")

    from sdelens.runs.run import Run
    from sdelens.runs.saved_findings import finding_folder
    from sdelens_cli.screen import Screen, finding_json

    opened, screen = Run(run), Screen(quiet=quiet)
    findings, left_out = run_shown(
        opened, chosen, screen, prompt=prompt, settings=settings, resume=resume, quick=quick
    )
    screen.left_out(left_out.reasons)
    if not findings:
        left_out.raise_failures()
    if as_json:
        found = [finding_json(finding) for finding in findings]
        print_json({"run": str(run), "findings": found, "left_out": left_out.reasons})
    else:
        screen.findings([(finding, finding_folder(opened, finding)) for finding in findings])
    left_out.raise_failures()
    if not as_json:
        screen.next("report", run, files=files)


def run_shown(
    run: "Run", names: Sequence[str], screen: "Screen", **options: Any
) -> tuple[tuple["Finding", ...], "LeftOut"]:
    """Run analyzers after showing their costs, and show which of them is running."""
    from sdelens.runs.analyzer_list import PlannedAnalyses
    from sdelens.runs.run_analyzers import run_analyzers

    planned, number = PlannedAnalyses.of(names, views=len(run.views)), count(1)
    screen.told(str(planned))
    with screen.working("analyze") as now:
        return run_analyzers(
            run,
            names,
            watch=lambda name, view: now(f"{name} {view}, {next(number)} of {planned.total}"),
            **options,
        )
