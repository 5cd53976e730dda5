"""`sdelens models`: list open models, fetch them, and check them."""

from dataclasses import asdict
from typing import Annotated

import typer

from sdelens_cli.json_output import AsJson, print_json

models = typer.Typer(
    help="List open models, fetch them, and check them before use.", no_args_is_help=True
)
Name = Annotated[
    str, typer.Argument(help="tiny (embedded), a folder, a GGUF file, or a name on the hub.")
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")]
Offline = Annotated[bool, typer.Option("--offline", help="Use only cached files.")]


@models.callback()
def root() -> None:
    """List open models, fetch them, and check them before use."""


@models.command("list")
def list_(as_json: AsJson = False) -> None:
    """List a few open models with their size, licence and origin; others work too."""
    from sdelens.models import model_catalogue

    rows = [asdict(model) for model in model_catalogue().catalogue()]
    if as_json:
        print_json({"models": rows})
        return
    width = max(len(row["name"]) for row in rows) + 2
    for row in rows:
        here = " (on this machine)" if row["available"] else ""
        size = f"{row['parameters'] / 1e6:,.0f} M"
        print(f"{row['name']:<{width}}{size:>8}  {row['licence']:<19}{row['origin']}{here}")


@models.command()
def get(
    name: Name, revision: Revision = None, offline: Offline = False, as_json: AsJson = False
) -> None:
    """Fetch a model and print its folder; later uses need no network."""
    from sdelens.models import model_catalogue

    folder = model_catalogue().fetch(name, revision=revision, offline=offline)
    if as_json:
        print_json({"name": name, "folder": str(folder)})
    else:
        print(folder)


@models.command()
def check(
    name: Name,
    revision: Revision = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Check that the states of a model can be used; exits with code 2 if a check fails.

    Every fit and capture does this at the first use of a model.
    """
    from sdelens.model_check.check import model_check
    from sdelens.models import language_model

    model = language_model(name, revision=revision, dtype=dtype, device=device, offline=offline)
    found = model_check(model)
    if as_json:
        print_json({"model": name, "fingerprint": model.card.fingerprint, "check": found.json()})
    else:
        for row in found.rows:
            print(f"{row.result:<12}{row.name:<28}{row.words}")
    if found.failed:
        raise typer.Exit(2)
