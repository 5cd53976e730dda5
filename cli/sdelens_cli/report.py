"""`sdelens report`: the report of a run."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sdelens.registry import plugin
from sdelens.runs.folder import require_run
from sdelens_cli.interrupts import interrupts
from sdelens_cli.plugin_files import PAGE, PluginFiles, ReporterName, use
from sdelens_cli.streams import inline
from sdelens_cli.suggestions import again, command


def report(
    run: Annotated[Path, typer.Argument(help="Folder written by sdelens fit.")],
    reporter: ReporterName = PAGE,
    files: PluginFiles = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the path only.")] = False,
) -> None:
    """Write the report of a run, after running all analyzers if none has run yet."""
    require_run(run)
    use(files)
    plugin("reporter", reporter)

    from sdelens.runs.left_out import LeftOut
    from sdelens.runs.run import Run
    from sdelens.runs.run_analyzers import run_analyzers, write_report
    from sdelens.runs.saved_findings import findings_of
    from sdelens.runs.writer import sole_writer
    from sdelens_cli.screen import Screen

    opened, screen = Run(run), Screen(quiet=quiet)
    left_out = LeftOut(frozenset())
    with sole_writer(run):
        if not findings_of(opened):
            then = f"{command('analyze', run, '--resume', files=files)} && {again(sys.argv[1:])}"
            with interrupts.continued_by(then), screen.working("analyze") as now:
                _, left_out = run_analyzers(opened, watch=lambda name, view: now(f"{name} {view}"))
            screen.left_out(left_out.reasons)
        print(inline(write_report(opened, reporter)))
    left_out.raise_failures()
