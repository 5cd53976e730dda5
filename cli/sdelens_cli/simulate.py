"""`sdelens simulate`: continue a prompt with states simulated by a fit, decoded to text."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdelens.errors import UsageError
from sdelens.runs.folder import require_run
from sdelens_cli.json_output import AsJson, print_json
from sdelens_cli.plugin_files import PluginFiles, use
from sdelens_cli.prompt import checked_prompt

if TYPE_CHECKING:
    from sdelens.report import Finding


def simulate(
    run: Annotated[Path, typer.Argument(help="Folder written by sdelens fit.")],
    prompt: Annotated[
        str | None,
        typer.Option(callback=checked_prompt, help="Text to continue. [a question about France]"),
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Number of tokens to simulate.")] = 20,
    start: Annotated[
        str,
        typer.Option(
            help="Initial state: the last state of the prompt, or their mean (last, mean)."
        ),
    ] = "last",
    files: PluginFiles = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Simulate a fit from a prompt and decode its states, next to the model's own text."""
    require_run(run)
    use(files)
    if start not in ("last", "mean"):
        raise UsageError(f"--start must be last or mean, got {start!r}")

    from sdelens.runs.run import Run
    from sdelens.runs.run_analyzers import analyze as ask
    from sdelens_cli.screen import Screen, finding_json

    settings = {"generate": {"tokens": tokens, "start": start}}
    screen = Screen(quiet=quiet or as_json)
    with screen.working("simulate") as now:
        findings, _ = ask(
            Run(run),
            ["generate"],
            prompt=prompt,
            settings=settings,
            watch=lambda name, view: now(f"{name} {view}"),
        )
    if as_json:
        found = [finding_json(finding) | {"texts": texts(finding)} for finding in findings]
        print_json({"run": str(run), "findings": found})
        return
    for finding in findings:
        show(finding)


def texts(finding: "Finding") -> dict[str, str]:
    """The generated texts by generator."""
    return {strip.name: "".join(strip.tokens) for strip in finding.strips}


def show(finding: "Finding") -> None:
    """The texts of one view with their statistics."""
    from rich.table import Table
    from rich.text import Text

    from sdelens_cli.console import console

    out, rows = console(), Table.grid(padding=(0, 2))
    for name, text in texts(finding).items():
        cells: tuple[Any, ...] = (Text(name, style="dim"), Text(one_line(text)))
        rows.add_row(*cells)
    out.print(Text(finding.view, style="bold"))
    out.print(rows)
    out.print(Text(finding.headline))


def one_line(text: str) -> str:
    r"""A text with visible line breaks.

    >>> one_line("a cat\nsat")
    'a cat⏎sat'
    """
    from sdelens.wording import visible

    return visible(text).replace("·", " ")
