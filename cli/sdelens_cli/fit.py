"""`sdelens fit`: capture a model's states and fit a law to them."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sdelens.errors import UsageError
from sdelens.registry import plugin
from sdelens.runs.job import Job
from sdelens.settings import parse_assignments
from sdelens_cli.plugin_files import PluginFiles, use


def fit(
    model: Annotated[
        str | None,
        typer.Option(help="tiny (embedded), a local folder, or a name on the hub. [tiny]"),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="6 | 0-7 | 2,5 | all | -1 | middle | embed: outputs of blocks. [middle]"
        ),
    ] = None,
    axis: Annotated[
        str | None,
        typer.Option(help="token: time along the text; layer: one path per token. [token]"),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16. [float32]")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps. [auto]")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Only what is here already.")] = False,
    texts: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="A .txt, .jsonl, .json, .csv or .parquet file."
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="A dataset on the hub, or a folder that holds one.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Another source of texts: a plugin. [sampled]")
    ] = None,
    split: Annotated[str | None, typer.Option(help="The dataset's split. [train]")] = None,
    column: Annotated[str | None, typer.Option(help="The column of the texts.")] = None,
    documents: Annotated[int | None, typer.Option(min=10, help="How many texts. [512]")] = None,
    length: Annotated[
        int | None, typer.Option(min=2, help="Tokens of each, after BOS. [200, or the context]")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Of texts sampled from the model. [1.0]")
    ] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus of sampled texts. [1.0]")] = None,
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos", help="Ban the end of text while sampling.")
    ] = False,
    skip_first: Annotated[
        int | None, typer.Option(min=0, help="Positions left out at the context's start. [1]")
    ] = None,
    probe: Annotated[
        str | None, typer.Option(help="neural, linear, token, constant, or a plugin. [neural]")
    ] = None,
    density: Annotated[
        str | None, typer.Option(help="How a step is scored. [discrete: tokens have dt = 1]")
    ] = None,
    basis: Annotated[
        str | None, typer.Option(help="standard, raw, pca:K or whiten:K. [standard]")
    ] = None,
    center: Annotated[
        str | None, typer.Option(help="Subtract one mean (all) or one for each position. [all]")
    ] = None,
    ensemble: Annotated[
        int | None,
        typer.Option(min=0, help="Fits to resampled texts, for error bars of coefficients. [0]"),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="What fits learn from: plain, the steps that occurred, or branched, steps to "
            "several next states that the model draws. [plain]"
        ),
    ] = None,
    branches: Annotated[
        int | None, typer.Option(min=2, help="Next tokens drawn for --target branched. [8]")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting: probe.width=256. Repeatable.")
    ] = None,
    files: PluginFiles = None,
    config: Annotated[
        Path | None, typer.Option(help="A run's config.json: the same job again.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Everything random follows from it. [0]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder. [runs/<name>]")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an unfinished run.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew in a folder that holds a run.")
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Do not keep captured states for later runs.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Stop after the plan.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the run's path only.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show epochs, and where errors came from.")
    ] = False,
) -> None:
    """Capture a model's states along texts, fit a law to them, score it on held-out documents."""
    if resume and overwrite:
        raise UsageError("--resume and --overwrite contradict each other: give one of them")
    use(files)
    given = {
        "model": absolute(model),
        "layers": layer,
        "axis": axis,
        "revision": revision,
        "dtype": dtype,
        "device": device,
        "offline": offline or None,
        "basis": basis,
        "center": center,
        "ensemble": ensemble,
        "target": target,
        "branches": branches,
        "skip_first": skip_first,
        "seed": seed,
        "probe": probe,
        "cache": False if no_cache else None,
    }
    chosen = source_of(
        texts,
        dataset,
        source,
        split=split,
        column=column,
        documents_wanted=documents,
        length=length,
        temperature=temperature,
        top_p=top_p,
        ignore_eos=ignore_eos or None,
        offline=offline or None,
    )
    settings = job_settings(config, given, chosen, density, parse_assignments(set_ or []))
    plugin("probe", settings.get("probe", "neural"))
    plugin("source", settings.get("source", "sampled"))
    run_fit(
        settings,
        out,
        resume=resume,
        overwrite=overwrite,
        dry_run=dry_run,
        as_json=as_json,
        quiet=quiet,
        verbose=verbose,
    )


def absolute(model: str | None) -> str | None:
    """A folder by its full path, so that the run can be opened from anywhere."""
    if model is None or model == Job.model or not Path(model).is_dir():
        return model
    return str(Path(model).resolve())


def source_of(
    texts: Path | None, dataset: str | None, source: str | None, **settings: Any
) -> dict[str, Any]:
    """The source and its settings; an error where options contradict each other."""
    chosen = {name: value for name, value in settings.items() if value is not None}
    if texts and dataset:
        raise UsageError("--texts and --dataset contradict each other: give one of them")
    if source and (texts or dataset):
        other = "--texts" if texts else "--dataset"
        raise UsageError(f"--source and {other} contradict each other: give one of them")
    sampling = {"temperature", "top_p", "ignore_eos"} & set(chosen)
    if (texts or dataset) and sampling:
        option = sorted(sampling)[0].replace("_", "-")
        raise UsageError(
            f"--{option} is about sampled texts: leave it out, or --texts and --dataset"
        )
    if not (dataset or source) and "split" in chosen:
        raise UsageError("--split is about a dataset: give --dataset too")
    if not (texts or dataset or source) and "column" in chosen:
        raise UsageError("--column is about a file or a dataset: give --texts or --dataset")
    if dataset:
        return {"source": "dataset", "source_settings": {"name": dataset} | chosen}
    chosen.pop("offline", None)
    if texts:
        return {"source": "file", "source_settings": {"path": str(texts.resolve())} | chosen}
    if source:
        return {"source": source, "source_settings": chosen}
    return {"source_settings": chosen} if chosen else {}


def job_settings(
    config: Path | None,
    given: dict[str, Any],
    source: dict[str, Any],
    density: str | None,
    assigned: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """The config's settings, overridden by what was given on the command line."""
    settings: dict[str, Any] = {}
    if config is not None:
        settings = read_config(config)
    if "source" in source and source["source"] != settings.get("source"):
        settings.pop("source_settings", None)
    if given.get("probe") not in (None, settings.get("probe")):
        settings.pop("probe_settings", None)
    for kind in ("source", "probe"):
        own = dict(settings.get(f"{kind}_settings", {})) | source.pop(f"{kind}_settings", {})
        settings[f"{kind}_settings"] = own | assigned.pop(kind, {})
    if assigned:
        raise UsageError(f"--set knows probe.* and source.*, got {next(iter(assigned))}.*")
    if density is not None:
        settings["probe_settings"]["density"] = density
    return settings | source | {k: v for k, v in given.items() if v is not None}


def read_config(file: Path) -> dict[str, Any]:
    """The settings in a run's config.json."""
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: --config expects a run's config.json") from error
    except ValueError as error:
        raise UsageError(f"{file} is not JSON: {error}") from error
    nested = [settings] if isinstance(settings, dict) else [None]
    nested += [settings.get(f"{kind}_settings", {}) for kind in ("source", "probe") if nested[0]]
    if not all(isinstance(part, dict) for part in nested):
        raise UsageError(f"{file} holds no settings: --config expects a run's config.json")
    return dict(settings)


def run_fit(
    settings: dict[str, Any],
    out: Path | None,
    *,
    resume: bool,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """The work: from here on heavy libraries are imported."""
    job = Job.of(settings)

    from sdelens.runs.engine import execute
    from sdelens_cli.screen import Screen

    screen = Screen(quiet=quiet, verbose=verbose)
    run = execute(
        job,
        out,
        observer=screen,
        resume=resume,
        overwrite=overwrite,
        dry_run=dry_run,
        argv=tuple(sys.argv[1:]),
    )
    if as_json:
        print(json.dumps(screen.plan_json() if dry_run else result(run), allow_nan=False))
    elif not dry_run:
        screen.scores(run)
    elif quiet:
        print(run.folder)


def result(run: Any) -> dict[str, Any]:
    """What `--json` prints: the run and, for each layer, its held-out scores."""
    timings = run.manifest["timings"]
    layers = {
        view.label: run.metrics(view) | {"seconds": round(timings.get(str(view), 0.0), 3)}
        for view in run.views
    }
    return {"run": str(run.folder), "layers": layers}
