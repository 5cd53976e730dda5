"""What a person sees: plan, progress, scores, paths, the next command."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from sdelens.engine import Plan
from sdelens.errors import UsageError
from sdelens.report import Finding
from sdelens.report import Table as ScoreTable
from sdelens.reporting import score_table
from sdelens.run import Run
from sdelens.verdict import verdict


class Speed(ProgressColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        if task.fields["unit"] != "tokens" or not task.speed:
            return Text("")
        return Text(f"{task.speed:,.0f}/s")


class Screen:
    """An observer that draws on stderr; stdout is for results."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet, self.verbose = quiet, verbose
        self.console = Console(stderr=True, quiet=quiet)
        self.plan: Plan | None = None

    def planned(self, plan: Plan) -> None:
        """The plan in a panel, before anything is done."""
        self.plan = plan
        rows = Table.grid(padding=(0, 2))
        for name, value in plan_rows(plan):
            rows.add_row(Text(name, style="dim"), value)
        self.console.print(Panel(rows, title="plan", title_align="left", expand=False))

    def plan_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        if self.plan is None:
            return {}
        return {"plan": asdict(self.plan) | {"folder": str(self.plan.folder)}}

    @contextmanager
    def stage(
        self, name: str, total: int | None, unit: str
    ) -> Iterator[Callable[[int, str], None]]:
        """A progress bar for the time of a stage."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            Speed(),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[remark]}"),
        )
        short = (SpinnerColumn(), TextColumn("{task.description}"))
        with Progress(*(columns if total else short), console=self.console) as progress:
            task = progress.add_task(name, total=total, unit=unit, remark="")

            def done(steps: int, remark: str) -> None:
                progress.update(task, advance=steps, remark=remark)

            yield done
            completed = progress.tasks[0].completed
            if total and completed == 0:
                progress.update(task, completed=total, remark="found in the cache")
            elif total:  # early stopping ends before the last epoch
                progress.update(task, total=completed)

    @contextmanager
    def working(self, name: str) -> Iterator[Callable[[str], None]]:
        """A spinner with what is being done now."""
        with self.console.status(name) as status:
            yield lambda text: status.update(f"{name} {text}")

    def scores(self, run: Run) -> None:
        """Tables, verdicts and where everything is."""
        if self.quiet:
            print(run.folder)
            return
        for view in run.views:
            record = run.fitted(view).record
            draw(self.console, score_table(record.scores, view, record.probe, short=True))
            for sentence in verdict(record.scores, record.probe, record.density):
                self.console.print(f"• {sentence}")
        self.console.print("\nwritten")
        for path in (run.folder, *(run.fit_folder(view) for view in run.views)):
            self.console.print(f"  {path}", soft_wrap=True)
        self.console.print(f"\nnext: sdelens report {run.folder}", soft_wrap=True)

    def findings(self, found: Sequence[tuple[Finding, Path]]) -> None:
        """A headline and a few estimates of each finding; with --quiet only where it is."""
        for finding, folder in found:
            if self.quiet:
                print(folder)
                continue
            self.console.print(f"\n[bold]{finding.analyzer}[/] {finding.view}")
            self.console.print(finding.headline)
            for estimate in finding.estimates:
                self.console.print(f"  {estimate.name}: {estimate}")
            self.console.print(f"  [dim]{folder}", soft_wrap=True)


def plan_rows(plan: Plan) -> list[tuple[str, str]]:
    """What the plan panel says, line by line."""
    model = plan.model
    return [
        ("model", f"{model.name} @ {model.revision[:12]}, {model.blocks} blocks, d {model.width}"),
        ("weights", f"{model.fingerprint[:12]} ({model.weights}, {model.dtype}) on {plan.device}"),
        ("layers", ", ".join(plan.layers)),
        ("texts", plan.texts),
        ("tokens", f"at most {plan.tokens:,}"),
        ("probe", f"{plan.probe}, basis {plan.basis}"),
        ("memory", f"about {size(plan.memory_bytes)}"),
        ("disk", f"at most {size(plan.disk_bytes)} of cached states"),
        ("run", str(plan.folder)),
    ]


def size(count: float) -> str:
    """Bytes in words.

    >>> size(3 * 2**20)
    '3.0 MiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.1f} {unit}"


def draw(console: Console, table: ScoreTable) -> None:
    """Scores in the terminal; the fit's own row stands out."""
    drawn = Table(title=table.title, title_justify="left", header_style="bold", box=None)
    for number, column in enumerate(table.columns):
        drawn.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in table.rows:
        drawn.add_row(*row, style="bold" if row[0].endswith("(the fit)") else None)
    console.print()
    console.print(drawn)
    console.print(f"[dim]{table.note}")


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding without its arrays."""
    return {
        "analyzer": finding.analyzer,
        "view": finding.view,
        "headline": finding.headline,
        "estimates": [asdict(estimate) for estimate in finding.estimates],
    }


def open_run(folder: Path) -> Run:
    """The run in a folder; an error where there is none."""
    run = Run(folder)
    if not run.exists:
        raise UsageError(f"{folder} is not a run: expected a folder that sdelens fit wrote")
    if not run.views:
        raise UsageError(f"{folder} holds no finished fit: run sdelens fit --resume first")
    return run

