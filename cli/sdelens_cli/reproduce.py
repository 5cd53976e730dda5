"""`sdelens reproduce`: reproduces the figures of a paper on a model."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sdelens.errors import UnknownName
from sdelens.runs.job import Job
from sdelens_cli.fit import absolute
from sdelens_cli.json_output import AsJson, print_json
from sdelens_cli.prompt import checked_prompt
from sdelens_cli.streams import inline
from sdelens_cli.text_options import TextOptions

STUDIES = ("paper",)


def reproduce(
    study: Annotated[str, typer.Argument(help="paper: Figures 1 to 7 of arXiv 2408.11863.")],
    model: Annotated[
        str, typer.Option(help="tiny (embedded), a local folder, or a name on the hub.")
    ] = Job.model,
    texts: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="File with texts. [sampled from the model]"
        ),
    ] = None,
    column: Annotated[str | None, typer.Option(help="Column that contains the texts.")] = None,
    documents: Annotated[int | None, typer.Option(min=10, help="Number of texts. [512]")] = None,
    length: Annotated[int | None, typer.Option(min=2, help="Tokens of each. [200]")] = None,
    layer: Annotated[
        str, typer.Option(help="Layers; the state in the paper is the embedding.")
    ] = "embed,middle",
    prompt: Annotated[
        str, typer.Option(callback=checked_prompt, help="Question of the worked example.")
    ] = "What is the capital of France?",
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Output folder. [reproduction-<model>]")] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Start again in a folder that contains another run."),
    ] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the path only.")] = False,
) -> None:
    """Reproduce the figures of a paper on a model, with baselines.

    An interrupted reproduction continues where it stopped.
    """
    if study not in STUDIES:
        raise UnknownName.among("study", study, STUDIES)
    chosen = TextOptions(texts, column=column, documents=documents, length=length)
    job = Job.of({"model": absolute(model), "layers": layer, "seed": seed} | chosen.source())

    from sdelens.runs.engine import execute
    from sdelens.runs.reproduction import reproduce as remake
    from sdelens.runs.run_analyzers import page_plugin, render
    from sdelens.runs.writer import sole_writer
    from sdelens_cli.screen import Screen

    folder = out or Path(f"reproduction-{Path(model).name}")
    screen = Screen(quiet=quiet or as_json)
    argv = tuple(sys.argv[1:])
    place = folder / "run"
    with sole_writer(place):
        run = execute(job, place, observer=screen, resume=True, overwrite=overwrite, argv=argv)
        with screen.working("figures") as now:
            page = remake(run, folder, prompt=prompt, watch=now)
        file = render(page, folder, page_plugin().name)
    if as_json:
        print_json({"run": str(run.folder), "report": str(file), "figures": figures(folder)})
        return
    screen.headlines(page)
    print(inline(file))


def figures(folder: Path) -> list[str]:
    """The written figures."""
    return sorted(str(file) for file in (folder / "figures").glob("*.png"))
