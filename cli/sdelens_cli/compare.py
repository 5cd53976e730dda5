"""`sdelens compare`: a report on several runs."""

from pathlib import Path
from typing import Annotated

import typer

from sdelens.registry import plugin
from sdelens.runs.folder import require_run
from sdelens_cli.plugin_files import PAGE, PluginFiles, ReporterName, use
from sdelens_cli.streams import inline


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders written by sdelens fit.")],
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("comparison"),
    reporter: ReporterName = PAGE,
    files: PluginFiles = None,
) -> None:
    """Write a report on several runs: scores, differences, paired changes, findings."""
    for run in runs:
        require_run(run)
    use(files)
    plugin("reporter", reporter)

    from sdelens.runs.comparison import comparison
    from sdelens.runs.run import Run
    from sdelens.runs.run_analyzers import render

    found = comparison([Run(run) for run in runs], out)
    out.mkdir(parents=True, exist_ok=True)
    print(*found.verdict, sep="\n")
    print(inline(render(found, out, reporter)))
