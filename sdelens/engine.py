"""From a job to a finished run: documents, capture, a fit for each view; interruptible anywhere."""

import platform
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch

from sdelens.basis import BasisSpec
from sdelens.capture import require_recorded
from sdelens.documents import Documents
from sdelens.errors import UsageError
from sdelens.fitting import fit_view
from sdelens.job import Job
from sdelens.models import language_model
from sdelens.origin import ModelCard
from sdelens.protocols import Epoch, LanguageModel, Probe, Source
from sdelens.recording import View
from sdelens.registry import plugin
from sdelens.run import Run
from sdelens.seeds import derive
from sdelens.settings import build
from sdelens.sites import resolve_layers
from sdelens.split import split
from sdelens.store import write_json
from sdelens.trajectories import MappedPaths, Paths

SCHEMA = 1
PACKAGES = ("sdelens", "torch", "transformers", "transformer-lens", "torchsde", "safetensors")


class Observer(Protocol):
    """Who is told how far the work is."""

    def stage(self, name: str, total: int | None, unit: str) -> AbstractContextManager[
        Callable[[int, str], None]
    ]:
        """A stage of so many units; what it gives is called with steps done and a remark."""

    def planned(self, plan: "Plan") -> None:
        """Called once, before the work."""


class Quiet:
    """An observer that shows nothing."""

    def stage(
        self, name: str, total: int | None, unit: str
    ) -> AbstractContextManager[Callable[[int, str], None]]:
        del name, total, unit
        return nullcontext(lambda steps, remark="": None)

    def planned(self, plan: "Plan") -> None:
        del plan


@dataclass(frozen=True)
class Plan:
    """What a run will do, and about what it will take."""

    model: ModelCard
    device: str
    layers: tuple[str, ...]
    texts: str
    tokens: int
    memory_bytes: int
    disk_bytes: int
    folder: Path
    probe: str
    basis: str


def validate(job: Job) -> tuple[Source, Probe, BasisSpec]:
    """Everything that can be told without a model: names, settings, forms."""
    spec = BasisSpec(job.basis, job.center)
    source = build(plugin("source", job.source).load(), job.source_settings, job.source)
    probe = build(plugin("probe", job.probe).load(), job.probe_settings, job.probe)
    return source, probe, spec


def plan_of(job: Job, model: LanguageModel, source: Source, folder: Path, device: str) -> Plan:
    """An estimate from above: every document at its full length."""
    layers = resolve_layers(job.layers, model.card.blocks, model.card.name)
    documents = int(getattr(source, "documents_wanted", 0))
    length = min(int(getattr(source, "length", model.card.context)), model.card.context - 1)
    tokens = documents * length
    state = 4 * model.card.width
    weights = 4 * 12 * model.card.blocks * model.card.width**2
    shards = 4 * 64 * length * state  # the shuffling pool
    return Plan(
        model=model.card,
        device=device,
        layers=tuple(map(str, layers)),
        texts=described_texts(job, documents),
        tokens=tokens,
        memory_bytes=600 * 2**20 + weights + 3 * shards,
        disk_bytes=tokens * state * len(layers),
        folder=folder,
        probe=job.probe,
        basis=job.basis if job.center == "all" else f"{job.basis}, centred per position",
    )


def described_texts(job: Job, documents: int) -> str:
    """Where the texts come from, in words."""
    settings = job.source_settings
    if job.source == "sampled":
        temperature = settings.get("temperature", 1.0)
        return f"{documents} sampled from the model at temperature {temperature}"
    return f"up to {documents} of {settings.get('path') or settings.get('name')}"


def execute(
    job: Job,
    folder: Path,
    *,
    observer: Observer | None = None,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    argv: tuple[str, ...] = (),
) -> Run:
    """Do a job in a folder, or go on where it was left; a finished one is returned as it is.

    Whatever was finished is kept: documents, cached states, fits with DONE. An unfinished fit
    starts again. Raises `UsageError` where the folder holds another job, or an unfinished one and
    neither `resume` nor `overwrite` is set.
    """
    watcher = observer or Quiet()
    source, probe, spec = validate(job)
    run = Run(folder)
    if prepared(run, job, resume=resume, overwrite=overwrite):
        return run
    with watcher.stage("model", None, ""):
        model = _model(run, job)
    plan = plan_of(job, model, source, folder, str(getattr(model, "device", "cpu")))
    watcher.planned(plan)
    if dry_run:
        return run
    manifest = begun(run, job, model, argv)
    clock = time.perf_counter()
    if not run.documents_file.exists():
        _write_documents(run, model, source, job, watcher)
    require_recorded(run.documents, job.skip_first)
    timings = {"documents": time.perf_counter() - clock}
    clock = time.perf_counter()
    with watcher.stage("capture", int(run.documents.lengths.sum()), "tokens") as done:
        run.__dict__["recording"] = run.record(lambda tokens: done(tokens, ""))
    timings["capture"] = time.perf_counter() - clock
    for view in run.recording.views:
        if not run.is_done(view):
            clock = time.perf_counter()
            _fit(run, view, probe, spec, watcher)
            timings[str(view)] = time.perf_counter() - clock
    kept = manifest.get("timings", {})
    run.write_manifest({**manifest, "state": "done", "timings": kept | timings})
    return run


def prepared(run: Run, job: Job, *, resume: bool, overwrite: bool) -> bool:
    """Whether the job is finished already; an error where the folder cannot be used for it."""
    if not run.exists:
        if run.folder.exists() and any(run.folder.iterdir()) and not overwrite:
            raise UsageError(
                f"{run.folder} holds something that is not a run: give another --out, or an empty "
                "folder"
            )
        return False
    if overwrite:
        shutil.rmtree(run.folder)
        run.__dict__.pop("job", None)
        return False
    if run.job.hash8 != job.hash8:
        raise UsageError(
            f"{run.folder} holds another run ({job.differences(run.job)}): give another --out, or "
            "--overwrite to start anew"
        )
    if run.manifest["state"] == "done":
        return True
    if not resume:
        raise UsageError(
            f"{run.folder} holds an unfinished run: add --resume to go on, or --overwrite to start "
            "anew"
        )
    return False


def _model(run: Run, job: Job) -> LanguageModel:
    """The model of a job whose folder may not be there yet."""
    model = language_model(
        job.model,
        revision=job.revision,
        dtype=job.dtype,
        device=job.device,
        offline=job.offline,
    )
    resolve_layers(job.layers, model.card.blocks, model.card.name)
    run.__dict__["model"] = model
    return model


def begun(run: Run, job: Job, model: LanguageModel, argv: tuple[str, ...]) -> dict[str, Any]:
    """Write config.json and the manifest of a run that begins or goes on."""
    if run.exists:
        return run.manifest
    write_json(run.folder / "config.json", job.json())
    used = (plugin("source", job.source), plugin("probe", job.probe))
    manifest = {
        "schema": SCHEMA,
        "state": "running",
        "argv": list(argv),
        "model": asdict(model.card),
        "seed": job.seed,
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "device": str(getattr(model, "device", "cpu")),
        "threads": torch.get_num_threads(),
        "plugins": [
            {"kind": p.kind, "name": p.name, "distribution": p.distribution, "version": p.version}
            for p in used
        ],
        "timings": {},
    }
    run.write_manifest(manifest)
    return manifest


def _write_documents(
    run: Run, model: LanguageModel, source: Source, job: Job, watcher: Observer
) -> None:
    wanted = int(getattr(source, "documents_wanted", 0)) or None
    collected = []
    with watcher.stage("texts", wanted, "documents") as done:
        for document in source.documents(model, seed=derive(job.seed, "source")):
            collected.append(document)
            done(1, "")
    documents = Documents.of(collected)
    sides = split(documents.group.tolist(), seed=derive(job.seed, "split"))
    run.write_documents(documents, sides)


def _fit(run: Run, view: View, probe: Probe, spec: BasisSpec, watcher: Observer) -> None:
    """Fit and score one view, and write it."""
    paths = moved(run.recording.view(view), getattr(run.model, "device", torch.device("cpu")))
    with watcher.stage(f"fit {view}", getattr(probe, "epochs", None), "epochs") as done:

        def watch(epoch: Epoch) -> None:
            done(1, f"validation {epoch.validation['total']:.4f} nats/dim")

        fitted = fit_view(
            paths,
            run.split,
            dict(enumerate(run.documents.group.tolist())),
            probe,
            kind=run.job.probe,
            spec=spec,
            seed=derive(run.job.seed, "fit", view),
            test=run.test_paths(paths),
            origin=run.recording.origin,
            state_dependent=True,
            watch=watch,
        )
    fitted.record.scores.update(counts(run))  # type: ignore[attr-defined]
    run.write_fitted(view, fitted)


def moved(paths: Paths, device: torch.device) -> Paths:
    """The paths on another device, block by block."""
    if device.type == "cpu":
        return paths
    return MappedPaths(paths, lambda block: block.to(device))


def counts(run: Run) -> dict[str, Any]:
    """How much there was: tokens, documents, what was dropped, who reached which position."""
    lengths = run.documents.lengths
    at = torch.linspace(0, int(lengths.max()) - 1, 6).long().tolist()
    return {
        "tokens": int(lengths.sum()),
        "documents": len(run.documents),
        "paths_going_on_at": {str(p): int((lengths > p).sum()) for p in at},
        "dropped_prefix_in_training": dropped(run),
    }


def dropped(run: Run) -> int:
    """Test transitions that are not scored since their whole prefix occurs in training."""
    lengths, start = run.documents.lengths, run.documents.start.clamp(min=run.job.skip_first)
    return sum(
        max(0, min(first, int(lengths[d]) - 1) - int(start[d])) for d, first in run.first_new.items()
    )


def free_disk(folder: Path) -> int:
    """Bytes free where a folder is, or will be."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free

