"""`sdelens validate`: accuracy of a probe on reference systems with known truth."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdelens.errors import UnknownName, UsageError
from sdelens.registering import execute
from sdelens.registry import plugin as require_probe
from sdelens.registry import registered
from sdelens.settings import parse_assignments
from sdelens_cli.json_output import AsJson, print_json

if TYPE_CHECKING:
    from sdelens.testing.validation import ValidationRow, Value

Seeds = Annotated[
    int | None, typer.Option(help="Number of seeds per system. [3]", min=1, max=1000)
]
Transitions = Annotated[
    int | None, typer.Option(help="Number of training transitions. [20000]", min=200, max=10**9)
]
Ensemble = Annotated[
    int,
    typer.Option(help="Size of the ensemble for intervals of the coefficients.", min=0, max=1000),
]
COLUMNS = (
    ("drift", "drift_ratio", 2, True),
    ("noise", "covariance_ratio", 2, True),
    ("excess", "excess_ratio", 2, True),
    ("nats", "excess", 4, False),
    ("drift\nR2", "drift_r2", 3, False),
    ("noise\nerror", "covariance_error", 3, False),
    ("inside\n90%", "predicted", 3, False),
    ("of coef-\nficients", "intervals", 3, True),
)
"""Heading, field of a row, digits, and whether to show the error."""
NOTE = (
    "drift, noise, excess: squared errors of drift and covariance and held-out excess loss, "
    "relative to an efficient estimator, ± standard error over seeds. nats: excess over the true "
    "law. noise error: relative error of the covariance. inside: coverage of 90% intervals for "
    "the next state and for the coefficients."
)


def validate(
    probe: Annotated[
        str | None, typer.Option(help="Name of a probe; with --plugin, a class.")
    ] = None,
    plugin: Annotated[
        Path | None, typer.Option(help="Python file that defines the probe.")
    ] = None,
    system: Annotated[
        list[str] | None, typer.Option(help="System, repeatable. [all of them]")
    ] = None,
    seeds: Seeds = None,
    transitions: Transitions = None,
    ensemble: Ensemble = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting: probe.ridge=0.0")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="4000 transitions, 2 seeds, up to 16 dimensions.")
    ] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Fit a probe to reference systems and compare it with the truth and the efficient bound."""
    settings = parse_assignments(set_ or [])
    if set(settings) - {"probe"}:
        raise UsageError(f"--set accepts probe.*, got {next(iter(set(settings) - {'probe'}))}.*")
    if ensemble == 1:
        raise UsageError("--ensemble must be 0 or at least 2")
    if plugin is None:
        if probe is None:
            raise UsageError("give --probe NAME, or --plugin FILE with your own probe")
        require_probe("probe", probe)
    chosen: Any = probe if plugin is None else from_file(plugin, probe)

    from sdelens.testing import systems
    from sdelens.testing.validation import validate as run
    from sdelens_cli.screen import Screen

    known = systems()
    names = system or [name for name in known if not quick or known[name].dim <= 16]
    for name in names:
        if name not in known:
            raise UnknownName.among("system", name, known)
    fits = seeds or (2 if quick else 3)
    with Screen(quiet=quiet or as_json).stage("validate", len(names) * fits, "fits") as advance:
        rows = run(
            chosen,
            {name: known[name] for name in names},
            seeds=range(fits),
            transitions=transitions or (4_000 if quick else 20_000),
            ensemble=ensemble,
            done=lambda name, seed: advance(1, f"{name} {seed}"),
            **settings.get("probe", {}),
        )
    label = chosen if isinstance(chosen, str) else chosen.__name__
    show(label, rows, as_json=as_json)


def from_file(file: Path, name: str | None) -> Any:
    """The probe class in a file; raises `UsageError` unless it is unique or named."""
    module = execute(file)
    found = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and all(hasattr(value, part) for part in ("densities", "fit", "restore"))
    }
    called = registered().get(("probe", name or ""))
    if called and called.target.startswith(f"{module.__name__}:"):
        return called.load()
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name is None:
        raise UsageError(
            f"{file} must define one probe (a class with densities, fit and restore), got "
            f"{', '.join(sorted(found)) or 'none'}: name one with --probe"
        )
    if name not in found:
        raise UnknownName.among(f"probe in {file.name}", name, found)
    return found[name]


def show(probe: str, rows: "list[ValidationRow]", *, as_json: bool) -> None:
    """A table, or one JSON object."""
    if as_json:
        from sdelens_cli.screen import finite

        plain = [
            {
                key: {k: finite(v) for k, v in value.items()} if isinstance(value, dict) else value
                for key, value in asdict(row).items()
            }
            for row in rows
        ]
        print_json({"probe": probe, "rows": plain})
        return
    from rich.table import Table
    from rich.text import Text

    from sdelens_cli.console import console

    out = console()
    drawn = Table(header_style="bold", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    headings, cells = table(rows)
    for place, heading in enumerate(headings):
        drawn.add_column(heading, justify="right" if place else "left", no_wrap=place > 0)
    for line in cells:
        drawn.add_row(*line)
    out.print(Text(f"{probe}: {rows[0].transitions} transitions", style="bold"))
    out.print(drawn)
    for row in rows:
        if row.failure:
            out.print(Text(f"left out: {row.system}: {row.failure}"), soft_wrap=True)
    out.print(Text(NOTE, style="dim"))


def table(rows: "list[ValidationRow]") -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the non-empty columns."""
    used = [one for one in COLUMNS if any(getattr(row, one[1]) is not None for row in rows)]
    headings = ["system", *(heading for heading, *_ in used)]
    cells = [
        [row.system, *(number(getattr(row, f), digits, error) for _, f, digits, error in used)]
        for row in rows
    ]
    return headings, cells


def number(value: "Value | None", digits: int, with_error: bool) -> str:
    """A value with a number of digits; empty if there is none."""
    if value is None:
        return ""
    error = f"±{value.stderr:.{digits}f}".replace("±0.", "±.")
    shown = with_error and value.stderr < float("inf")
    return f"{value.value:.{digits}f}{error if shown else ''}"
