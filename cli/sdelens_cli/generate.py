"""`sdelens generate`: generate text while a fit steers the model's states."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdelens.errors import UsageError
from sdelens.runs.folder import require_run
from sdelens.steering.doses import Steering
from sdelens_cli.json_output import AsJson, print_json
from sdelens_cli.plugin_files import PluginFiles, use
from sdelens_cli.prompt import checked_prompt
from sdelens_cli.simulate import one_line

if TYPE_CHECKING:
    from sdelens.fitting.study import Study
    from sdelens.steering.steered_text import SteeredText


def generate(
    run: Annotated[Path, typer.Argument(help="Folder written by sdelens fit.")],
    steer: Annotated[
        str,
        typer.Option(help="Doses: drift=0.5,diffusion=0.8; or drift=remove, drift=project."),
    ],
    prompt: Annotated[
        str | None,
        typer.Option(callback=checked_prompt, help="Text to continue. [a question about France]"),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer of the fit, if there are several.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Number of tokens to generate.")] = 40,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="Sampling temperature; 0 takes the most likely tokens.")
    ] = 1.0,
    seed: Annotated[
        int, typer.Option(help="Seed of the random numbers, shared by both texts.")
    ] = 0,
    files: PluginFiles = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Generate text with and without steering by a fit.

    The model generates while its states are displaced; sdelens simulate decodes states of the fit.
    """
    steering = Steering.parse(steer)
    if steering == Steering():
        raise UsageError(f"--steer {steer} changes nothing: give drift=0.5, or diffusion=0.8")
    require_run(run)
    use(files)

    from sdelens.language.prompt import QUESTION
    from sdelens.runs.loading import load
    from sdelens_cli.screen import Screen

    study = load(run)
    label = one_layer(study, layer)
    with Screen(quiet=quiet or as_json).working("generate"):
        found = study.steer(
            QUESTION if prompt is None else prompt,
            drift=steering.drift,
            diffusion=steering.diffusion,
            tokens=tokens,
            temperature=temperature,
            seed=seed,
            layer=label,
        )
    if as_json:
        asked = {"layer": label, "tokens": tokens, "temperature": temperature, "seed": seed}
        print_json({"run": str(run)} | asked | as_values(found))
        return
    show(found, seed)


def one_layer(study: "Study", layer: str | None) -> str:
    """The requested layer, or the only one; raises before any model is loaded."""
    labels = [view.label for view in study.views]
    if layer in labels or (layer is None and len(labels) == 1):
        return layer or labels[0]
    if layer is None:
        why = f"{study.name} has fits of several layers"
    elif "," in layer:
        why = f"--layer must be a single layer, got {layer}"
    else:
        why = f"{study.name} has no fit of layer {layer}"
    raise UsageError(f"{why}: give {' or '.join(f'--layer {label}' for label in labels)}")


def as_values(found: "SteeredText") -> dict[str, Any]:
    """Values for JSON, with None instead of NaN."""
    from sdelens_cli.screen import finite

    sides = {"unsteered": found.unsteered, "steered": found.steered}
    texts = {k: {n: finite(v) for n, v in asdict(one).items()} for k, one in sides.items()}
    return {"prompt": found.prompt, "steering": asdict(found.steering)} | texts


def show(found: "SteeredText", seed: int) -> None:
    """Both texts side by side with their statistics and a note."""
    from rich.table import Table
    from rich.text import Text

    from sdelens_cli.console import console

    sides = {"unsteered": found.unsteered, str(found.steering): found.steered}
    rows = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    rows.add_column("")
    for name in sides:
        rows.add_column(Text(name), ratio=1)
    said = [("text", [one_line(one.text) for one in sides.values()])]
    said += [
        (label, [f"{getattr(one, name):.3g}" for one in sides.values()])
        for name, label in (
            ("perplexity", "perplexity"),
            ("distinct2", "distinct-2"),
            ("entropy", "entropy, nats"),
            ("kl", "KL per word, nats"),
        )
    ]
    for label, cells in said:
        rows.add_row(Text(label, style="dim"), *map(Text, cells))
    out = console()
    out.print(rows)
    out.print(
        Text(
            f"Both texts continue “{found.prompt}” with the random numbers of seed {seed}; in the "
            f"second, generated states were steered by {found.steering}. Perplexity is under the "
            "unsteered model; KL is from the unsteered to the steered law."
        )
    )
