"""Terminal output: plan, progress, scores, paths and the next command."""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console, JustifyMethod
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from sdelens.report import Estimate, Finding, Report
from sdelens.report import Table as ScoreTable
from sdelens.runs.observer import Progress as Advance
from sdelens.runs.plan import Plan
from sdelens.runs.run import Run
from sdelens.runs.run_report import said_of
from sdelens.runs.score_table import score_table
from sdelens_cli.console import console, spinner
from sdelens_cli.streams import inline
from sdelens_cli.suggestions import command


class Speed(ProgressColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        if task.fields["unit"] != "tokens" or not task.speed:
            return Text("")
        return Text(f"{task.speed:,.0f}/s")


class Count(ProgressColumn):
    """Finished and total units; empty for closed forms."""

    def render(self, task: Task) -> Text:
        done, total, unit = f"{task.completed:,.0f}", task.total, task.fields["unit"]
        if total is None:
            return Text(f"{done} {unit}" if task.completed else "")
        return Text(f"{done}/{total:,.0f} {unit}" if unit else "")


COLUMNS = (
    TextColumn("{task.description:<10}", markup=False),
    BarColumn(bar_width=16),
    Count(table_column=Column(no_wrap=True)),
    Speed(),
    TimeRemainingColumn(compact=True),
    TextColumn("{task.fields[remark]}", style="dim", markup=False),
)
UNKNOWN = "unknown"
SHORT = (TextColumn("{task.description}", markup=False),)


class Screen:
    """An observer that writes to stderr; stdout is for results."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet, self.verbose = quiet, verbose
        if quiet:  # read by transformers and huggingface_hub, not yet imported, for their own bars
            os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
            os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        self.console = console(err=True, quiet=quiet)
        self.plan: Plan | None = None

    def planned(self, plan: Plan) -> None:
        """Show the plan in a panel."""
        self.plan = plan
        rows = Table.grid(padding=(0, 2))
        for name, value in plan_rows(plan):
            rows.add_row(Text(name, style="dim"), Text(value))
        self.console.print(Panel(rows, title="plan", title_align="left", expand=False))

    def told(self, sentence: str) -> None:
        """Show a message, dimmed."""
        self.console.print(Text(sentence, style="dim"), soft_wrap=True)

    def warned(self, sentence: str) -> None:
        """Show a warning, with --quiet too."""
        out = console(err=True) if self.quiet else self.console
        out.print(Text(sentence), soft_wrap=True)

    def plan_json(self) -> dict[str, Any]:
        """The plan for JSON."""
        if self.plan is None:
            raise RuntimeError("the plan is not available yet")
        return {"plan": asdict(self.plan) | {"folder": str(self.plan.folder)}}

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str) -> Iterator[Advance]:
        """A progress bar for the duration of a stage, if it can be displayed."""
        clock = time.perf_counter()
        columns = COLUMNS if unit else SHORT
        drawn = not self.console.is_jupyter or find_spec("ipywidgets") is not None
        # what counts nothing leaves nothing behind
        with Progress(
            SpinnerColumn(spinner(self.console)),
            *columns,
            console=self.console,
            transient=not unit,
            disable=self.quiet or not drawn,  # it would divert stderr
        ) as progress:
            task = progress.add_task(name, total=total, unit=unit, remark="")

            def done(steps: int, remark: str = "", total: int | None = None) -> None:
                # None leaves the total as it is
                progress.update(task, advance=steps, remark=remark, total=total)
                if self.verbose and remark:
                    self.console.print(f"  {name} {remark}", style="dim")

            yield done
            completed = progress.tasks[0].completed
            if total and completed == 0:
                progress.update(task, completed=total, remark="found in the cache")
            else:  # sources may hold fewer texts than were asked for
                kept = unit if completed else ""
                least = completed or 1
                progress.update(task, total=least, completed=least, remark="", unit=kept)
        if self.verbose:
            self.console.print(f"  {name} took {time.perf_counter() - clock:.1f} s", style="dim")

    @contextmanager
    def working(self, name: str) -> Iterator[Callable[[str], None]]:
        """A spinner with the current activity."""
        if self.quiet:  # it would divert stderr
            yield lambda _: None
            return
        with self.console.status(name, spinner=spinner(self.console)) as status:
            yield lambda text: status.update(Text(f"{name} {text}"))

    def scores(self, run: Run, files: Iterable[Path] | None = None) -> None:
        """Show verdicts, tables and paths."""
        if self.quiet:
            print(inline(run.folder))
            return
        for view in run.views:
            fitted = run.fitted(view)
            self.console.print(Text(f"\n{view}", style="bold"))
            self.console.print(bullets(said_of(fitted, view)))
            scores, probe = fitted.record.scores, fitted.record.probe
            draw(self.console, score_table(scores, view, probe, short=True))
        self.console.print("\nwritten")
        for path in (run.folder, *(run.fit_folder(view) for view in run.views)):
            self.console.print(Text(f"  {inline(path)}"), soft_wrap=True)
        self.next("report", run.folder, files=files)

    def findings(self, found: Sequence[tuple[Finding, Path]]) -> None:
        """Show the headline and a few estimates of each finding; only paths with --quiet."""
        for finding, folder in found:
            if self.quiet:
                print(inline(folder))
                continue
            # as Text: words of a model may look like rich's markup
            self.console.print(Text(f"\n{finding.analyzer} {finding.view}", style="bold"))
            self.console.print(Text(finding.headline))
            if finding.details:
                self.console.print(bullets(finding.details))
            if finding.estimates:
                self.console.print(estimates(finding.estimates))
            self.console.print(Text(f"  {inline(folder)}", style="dim"), soft_wrap=True)

    def headlines(self, report: Report) -> None:
        """Show titles and headlines of the findings in a report."""
        rows = Table.grid(padding=(0, 2))
        for label, finding in zip(report.labels, report.findings, strict=True):
            rows.add_row(Text(f"{label}, {finding.view}", style="bold"), Text(finding.headline))
        self.console.print(rows)

    def left_out(self, reasons: Mapping[str, str]) -> None:
        """Show analyzers that could not run."""
        for name, reason in reasons.items():
            self.console.print(Text(f"left out: {name}: {reason}"), soft_wrap=True)

    def next(self, *words: str | Path, files: Iterable[Path] | None = None) -> None:
        """Show the next command."""
        self.console.print(Text(f"\nnext: {command(*words, files=files)}"), soft_wrap=True)


def plan_rows(plan: Plan) -> list[tuple[str, str]]:
    """The lines of the plan panel."""
    model, free = plan.model, size(plan.disk_free_bytes)
    digits = f"{model.fingerprint[:12]} " if model.fingerprint else "not read yet "
    end = f", of texts that end at its context of {plan.model.context}" if plan.capped else ""
    states = UNKNOWN if plan.disk_bytes is None else f"at most {size(plan.disk_bytes)} of states"
    return [
        ("model", f"{model.name} @ {model.revision[:12]}, {model.blocks} blocks, d {model.width}"),
        ("weights", f"{digits}({model.weight_words}) on {plan.device}"),
        ("layers", ", ".join(plan.layers)),
        *([("time", "depth, one path per token")] if plan.axis == "layer" else []),
        ("texts", plan.texts),
        ("BOS", plan.bos),
        ("tokens", (UNKNOWN if plan.tokens is None else f"at most {plan.tokens:,}") + end),
        ("probe", f"{plan.probe}, basis {plan.basis}"),
        *([("drift", plan.drift)] if plan.drift else []),
        ("memory", f"about {size(plan.memory_bytes)}"),
        ("disk", f"{states}, {free} free"),
        ("run", inline(plan.folder)),
    ]


def size(count: float) -> str:
    """Bytes in readable units.

    >>> size(3 * 2**20)
    '3.0 MiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.1f} {unit}"


def draw(console: Console, table: ScoreTable) -> None:
    """Scores for the terminal, with the row of the fit highlighted."""
    drawn = Table(header_style="bold", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for number, column in enumerate(table.columns):
        side: JustifyMethod = "left" if number == 0 else "right"
        drawn.add_column(column, justify=side, no_wrap=True, vertical="bottom")
    for number, row in enumerate(table.rows):
        style = "bold" if number == table.own else None
        drawn.add_row(*(Text(cell, no_wrap=True) for cell in row), style=style)
    console.print(Text(f"\n{table.title}", style="bold"))
    console.print(drawn)
    console.print(Text(table.note, style="dim"))


def bullets(sentences: Sequence[str]) -> Table:
    """Sentences with a hanging indent."""
    rows = Table.grid(padding=(0, 1))
    for sentence in sentences:
        rows.add_row("•", Text(sentence))
    return rows


def estimates(found: Sequence[Estimate]) -> Table:
    """Names and values in two columns."""
    rows = Table.grid(padding=(0, 2))
    for estimate in found:
        rows.add_row("", Text(estimate.name), Text(str(estimate)))
    return rows


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding without its arrays."""
    return {
        "analyzer": finding.analyzer,
        "view": finding.view,
        "prompt": finding.prompt,
        "headline": finding.headline,
        "details": list(finding.details),
        "estimates": [
            {k: finite(v) for k, v in asdict(estimate).items()} for estimate in finding.estimates
        ],
    }


def finite(value: Any) -> Any:
    """The value, or None for numbers that JSON cannot represent."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
