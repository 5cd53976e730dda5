"""`sdelens fit`: capture the states of a model and fit a law to them."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from sdelens.errors import UsageError
from sdelens.json_text import parsed
from sdelens.registry import plugin
from sdelens.regular_file import text_of
from sdelens.runs.job import Job
from sdelens.settings import parse_assignments
from sdelens_cli.help_page import HelpCommand
from sdelens_cli.json_output import AsJson, print_json
from sdelens_cli.option_groups import grouped
from sdelens_cli.plugin_files import PluginFiles, use
from sdelens_cli.streams import inline
from sdelens_cli.text_options import TextOptions


@dataclass(frozen=True)
class RunOptions:
    """Options for execution and output."""

    out: Annotated[Path | None, typer.Option(help="Folder of the run. [runs/<name>]")] = None
    resume: Annotated[bool, typer.Option("--resume", help="Continue an unfinished run.")] = False
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start again in a folder that contains a run.")
    ] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False
    as_json: AsJson = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the run's path only.")] = (
        False
    )
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show epochs, and tracebacks of errors.")
    ] = False


class FitHelp(HelpCommand):
    """The options of `sdelens fit`, grouped by topic."""

    groups: ClassVar[Mapping[str, Sequence[str]]] = {
        "Model": (
            *("model", "layers", "axis", "revision", "dtype", "quantise", "adapter", "bos"),
            *("device", "device_map", "offline"),
        ),
        "Texts": (
            *(each.name for each in fields(TextOptions)),
            *("source", "skip_first", "no_cache"),
        ),
        "Fit": (
            *("probe", "density", "basis", "center", "ensemble", "seed", "target", "branches"),
            *("set_", "files", "config"),
        ),
        "Output": tuple(each.name for each in fields(RunOptions)),
    }


@grouped
def fit(
    job: Annotated[dict[str, Any], Job],
    texts: TextOptions,
    *,
    density: Annotated[
        str | None,
        typer.Option(help="Transition density of a step. [discrete: tokens have dt = 1]"),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Use only cached files.")] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Do not keep captured states for later runs.")
    ] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting: probe.width=256. Repeatable.")
    ] = None,
    files: PluginFiles = None,
    config: Annotated[
        Path | None, typer.Option(help="config.json of a run, to repeat its job.")
    ] = None,
    run: RunOptions,
) -> None:
    """Capture states along texts, fit a law to them, and score it on held-out documents."""
    use(files)
    source = texts.source(job.pop("source", None), offline=offline)
    for name in {"model", "adapter"} & job.keys():
        job[name] = absolute(job[name])
    given = job | ({"offline": True} if offline else {}) | ({"cache": False} if no_cache else {})
    settings = job_settings(config, given, source, density, parse_assignments(set_ or []))
    plugin("probe", settings.get("probe", Job.probe))
    plugin("source", settings.get("source", Job.source))
    run_fit(settings, run, files)


def absolute(model: str) -> str:
    """The full path of a folder or GGUF file, so that the run can be opened from anywhere."""
    file = model.endswith(".gguf") and Path(model).is_file()
    if model in ("", Job.model) or not (file or Path(model).is_dir()):
        return model
    return str(Path(model).resolve())


def job_settings(
    config: Path | None,
    given: dict[str, Any],
    source: dict[str, Any],
    density: str | None,
    assigned: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """Settings of the config file, overridden by those of the command line."""
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
        raise UsageError(f"--set accepts probe.* and source.*, got {next(iter(assigned))}.*")
    if density is not None:
        settings["probe_settings"]["density"] = density
    return settings | source | given


def read_config(file: Path) -> dict[str, Any]:
    """The settings in the config.json of a run."""
    try:
        settings = parsed(text_of(file))
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: --config expects the config.json of a run"
        ) from error
    except ValueError as error:
        raise UsageError(f"{file} is not JSON: {error}") from error
    nested = [settings] if isinstance(settings, dict) else [None]
    nested += [settings.get(f"{kind}_settings", {}) for kind in ("source", "probe") if nested[0]]
    if not all(isinstance(part, dict) for part in nested):
        raise UsageError(f"{file} contains no settings: --config expects the config.json of a run")
    return dict(settings)


def run_fit(settings: dict[str, Any], options: RunOptions, files: list[Path] | None) -> None:
    """Run the job; imports heavy libraries."""
    job = Job.of(settings)

    from sdelens.runs.engine import execute
    from sdelens_cli.screen import Screen

    screen = Screen(quiet=options.quiet, verbose=options.verbose)
    run = execute(
        job,
        options.out,
        observer=screen,
        resume=options.resume,
        overwrite=options.overwrite,
        dry_run=options.dry_run,
        argv=tuple(sys.argv[1:]),
    )
    if options.as_json:
        print_json(screen.plan_json() if options.dry_run else result(run))
    elif not options.dry_run:
        screen.scores(run, files)
    elif options.quiet:
        print(inline(run.folder))


def result(run: Any) -> dict[str, Any]:
    """The output of `--json`: the run and the held-out scores of each layer."""
    timings = run.manifest["timings"]
    layers = {
        view.label: run.metrics(view) | {"seconds": round(timings.get(str(view), 0.0), 3)}
        for view in run.views
    }
    return {"run": str(run.folder), "layers": layers}
