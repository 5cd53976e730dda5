"""Executes a job: documents, capture, fits. It can be interrupted at any time."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from sdelens.branching.branch_sampler import BranchSampler
from sdelens.branching.branched_transitions import BranchedTransitions, branched_transitions
from sdelens.branching.token_choice import TokenChoice
from sdelens.containment.contained import contained
from sdelens.errors import BadNumbers, UsageError
from sdelens.fitting.comparison import FitProgress
from sdelens.fitting.fit import ViewTask, fit_views
from sdelens.model_check.check import model_check
from sdelens.paths.near_duplicates import grouped_near_duplicates
from sdelens.paths.split import split
from sdelens.paths.trajectories import MappedPaths, Paths
from sdelens.protocols import Epoch, LanguageModel, SizedSource, StackedProbe
from sdelens.runs.counts import counts, data_words, without_transition
from sdelens.runs.disk import require_disk
from sdelens.runs.in_memory import Given
from sdelens.runs.job import BRANCHES, Job
from sdelens.runs.lifecycle import begun, finished, is_done, unfinished
from sdelens.runs.manifest import fingerprints
from sdelens.runs.observer import ContainedObserver, NullObserver, Observer
from sdelens.runs.preflight import check_input, load_model, plan_in, preview_of
from sdelens.runs.reading import empty_words, read_documents
from sdelens.runs.run import Run
from sdelens.runs.score_table import lost_words
from sdelens.runs.task import Task
from sdelens.runs.writer import sole_writer, tidy
from sdelens.seeds import derive
from sdelens.states.recording import View
from sdelens.states.requirements import require_recorded
from sdelens.states.sampling import Sampler
from sdelens.states.state_cache import cache_limit
from sdelens.store import file_digest

TOGETHER = 4
"""Views per batched fit; an interrupted batch is repeated."""


def execute(
    job: Job,
    folder: Path | None = None,
    *,
    given: Given | None = None,
    observer: Observer | None = None,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    argv: tuple[str, ...] = (),
) -> Run:
    """Execute a job in a folder, or resume it; a finished run is returned unchanged.

    Finished parts are kept: documents, cached states, and fits with DONE. An unfinished fit starts
    again. Raises `UsageError` if the folder contains another job, or an unfinished one and neither
    `resume` nor `overwrite` is set; with both, an unfinished run of this job is continued and any
    other replaced. The default folder is ``runs/<name of the job>``. `given` replaces the model
    and the texts named by the job. Invalid input is reported before a model is loaded.
    """
    watcher, held = ContainedObserver(observer or NullObserver()), given or Given()
    task = Task.of(job, held.documents)
    cache_limit()  # an invalid one is reported before any work
    run = Run(folder or Path("runs") / task.job.name)
    overwrite = overwrite and not (resume and unfinished(run, task.job))
    if not dry_run and not overwrite and is_done(run, task.job):  # which may be only readable
        tidy(run.folder)
        return run
    if dry_run:
        finished(run, task.job, resume=resume, overwrite=overwrite)
    check_input(task, run, overwrite=overwrite)
    preview = None if held.model else preview_of(task.job)
    plan = plan_in(run, task, preview) if preview else None
    if dry_run:
        watcher.planned(plan or plan_in(run, task, _loaded(task.job, held, watcher)))
        return run
    with sole_writer(run.folder):
        if finished(run, task.job, resume=resume, overwrite=overwrite):
            return run
        model = _loaded(task.job, held, watcher)
        watcher.planned(plan_in(run, task, model))
        with begun(run, task.job, model, argv, overwrite=overwrite):
            if held.recording is not None:
                run.recording = held.recording
                hooks = held.recording.origin.model.hooks
                run.note(model={**run.manifest["model"], "hooks": hooks})
            _work(run, task, watcher)
    return run


def _loaded(job: Job, held: Given, watcher: Observer) -> LanguageModel:
    """The model given, or that of the job; raises `UsageError` if it fails its check."""
    with watcher.stage("model", None, ""):
        model = held.model or load_model(job)
        with contained(f"the model {model.card.name}"):
            model_check(model).require_passed(model.card)
        return model


def _work(run: Run, task: Task, watcher: ContainedObserver) -> None:
    """Do everything that is not done yet."""
    clock = time.perf_counter()
    if not run.documents_file.exists():
        _write_documents(run, task, watcher)
        run.note_time("documents", time.perf_counter() - clock)
    require_recorded(run.documents, run.job.skip_first)
    if lost := without_transition(run):
        watcher.told(lost_words(lost, len(run.documents)))
    prints = fingerprints(run.model, run.documents)
    run.note(fingerprints=prints, documents=file_digest(run.documents_file))
    size = TOGETHER if isinstance(task.probe, StackedProbe) else 1
    stacks = [run.wanted[start : start + size] for start in range(0, len(run.wanted), size)]
    open_ = [stack for stack in stacks if not all(map(run.is_done, stack))]
    if open_ and not run.recorded:
        _capture(run, watcher)
    steps = _branch(run, watcher) if open_ and run.job.target == "branched" else None
    for stack in open_:  # fixed stacks, so that results do not depend on interruptions
        _fit_or_each(run, stack, task, watcher, steps)


def _write_documents(run: Run, task: Task, watcher: Observer) -> None:
    seed, source = task.job.seed, task.source
    wanted = source.documents_wanted if isinstance(source, SizedSource) else None
    with watcher.stage("texts", wanted, "documents") as done:
        name, own = task.job.source, derive(seed, "source")
        read = read_documents(source, run.model, name=name, seed=own, watch=done)
    documents = read.documents
    for sentence in empty_words(read.empty):
        watcher.told(sentence)
    run.note(empty_texts=read.empty)
    if run.sampler is None:  # sampled texts are independent given their prompts, equal ones too
        documents, repeats = grouped_near_duplicates(documents)
        run.note(near_duplicates=repeats)
    run.write_documents(documents, split(documents.group.tolist(), seed=derive(seed, "split")))


def _capture(run: Run, watcher: ContainedObserver) -> None:
    require_disk(run)
    clock = time.perf_counter()
    tokens = int(run.documents.lengths.sum())
    with watcher.stage("capture", tokens, "tokens") as done, contained(_model(run)):
        run.recording = run.record(done, watcher.warned)
    run.note_time("capture", time.perf_counter() - clock)


def _model(run: Run) -> str:
    return f"the model {run.model.card.name}"


def _branch(run: Run, watcher: Observer) -> BranchedTransitions:
    """Sample next states after all training prefixes."""
    origin = run.recording.origin
    if not origin.repeatable:
        raise UsageError(
            "--target branched runs the model over its texts again, but what the user did while "
            "these states were captured is unknown: fit to texts instead of a live capture"
        )
    clock, job, branches = time.perf_counter(), run.job, run.job.branches or BRANCHES
    branching = BranchSampler(run.sampler or Sampler(), TokenChoice(branches), held=branches)
    train = run.split.train
    fed = branches * int((run.documents.lengths[list(train)] - 1).clamp(min=0).sum())
    with watcher.stage("branch", fed, "next tokens") as done, contained(_model(run)):
        steps = branched_transitions(
            run.model,
            run.documents,
            train,
            run.sites,
            branching,
            origin,
            own=run.sampler is not None,
            seed=derive(job.seed, "branch"),
            watch=done,
        )
    run.note_time("branch", time.perf_counter() - clock)
    return steps


def _fit_or_each(
    run: Run,
    views: Sequence[View],
    task: Task,
    watcher: Observer,
    steps: BranchedTransitions | None,
) -> None:
    """Fit views together; if one diverges, fit each separately so that the others are kept."""
    try:
        _fit(run, views, task, watcher, steps)
    except BadNumbers as error:
        if len(views) == 1:
            raise BadNumbers(f"{views[0]}: {error}") from error
        failed = []
        for view in views:
            try:
                _fit_or_each(run, (view,), task, watcher, steps)
            except BadNumbers as own:
                failed.append(own)
        if failed:
            raise failed[0] from None


def _fit(
    run: Run,
    views: Sequence[View],
    task: Task,
    watcher: Observer,
    steps: BranchedTransitions | None,
) -> None:
    """Fit and score some views together, and write them."""
    clock = time.perf_counter()
    name = ", ".join(map(str, views))
    with watcher.stage(f"fit {name}", None, "epochs") as done:

        def watch(epoch: Epoch) -> None:
            loss = epoch.validation.get("diffusion", torch.nan)
            done(1, f"validation {loss:.4f} nats/dim", 2 * epoch.planned)

        def watch_baselines(epoch: Epoch) -> None:
            done(1, f"baselines with state-dependent noise, epoch {epoch.number}")

        tasks = [_view_task(run, view, steps) for view in views]
        found = fit_views(
            tasks,
            run.split,
            dict(enumerate(run.documents.group.tolist())),
            task.probe,
            task.job,
            kind=task.job.probe,
            state_dependent=True,
            progress=FitProgress(watch, watch_baselines, watcher.told),
        )
    share = (time.perf_counter() - clock) / len(views)
    for view, fitted in zip(views, found, strict=True):
        if run.is_done(view):
            continue
        run.note_time(str(view), share)
        scores = {**fitted.record.scores, **counts(run)}
        scores["notes"] = [*scores["notes"], *data_words(run, steps)]
        record = replace(fitted.record, scores=scores)
        run.write_fitted(view, replace(fitted, record=record))


def _view_task(run: Run, view: View, steps: BranchedTransitions | None) -> ViewTask:
    """The fit task of a view: its paths on the device of the fit, and its seed."""
    device = run.model.device
    paths, new = (moved(p, device) for p in (run.recording.view(view), run.new_prefixes(view)))
    seed = derive(run.job.seed, "fit", view)
    learned = moved(steps.recording.view(view), device) if steps else None
    return ViewTask(paths, seed, new, run.recording.origin, learned)


def moved(paths: Paths, device: torch.device) -> Paths:
    """The paths on another device, moved block by block."""
    if device.type != "cuda":  # closed forms need float64, which mps lacks
        return paths
    return MappedPaths(paths, lambda block: block.to(device))
