"""What is checked before a model is loaded: the folder of a run, its texts, its layers."""

import tempfile
from pathlib import Path

from sdelens.errors import OutOfMemory, UsageError, blamed
from sdelens.model_protocols import ModelPreview
from sdelens.models import language_model, model_preview
from sdelens.protocols import CheckedSource, LanguageModel, SamplingSource, SizedSource
from sdelens.runs.folder import require_free, require_writable
from sdelens.runs.job import Job
from sdelens.runs.plan import Plan, plan_of
from sdelens.runs.run import Run
from sdelens.runs.task import Task
from sdelens.store import cache_folder


def finished(run: Run, job: Job, *, resume: bool, overwrite: bool) -> bool:
    """Whether the job is finished; raises `UsageError` if the folder cannot be used for it."""
    if not run.exists:
        require_free(run.folder)
        require_writable(run.folder)
        return False
    if overwrite:
        return False
    if run.job.hash8 != job.hash8:
        raise UsageError(
            f"{run.folder} contains another run ({job.differences(run.job)}): give another --out, "
            "or --overwrite to start again"
        )
    # a run that failed before it had texts can simply start again
    if run.manifest["state"] != "done" and not resume and run.documents_file.exists():
        raise UsageError(
            f"{run.folder} contains an unfinished run: add --resume to continue, or --overwrite "
            "to start again"
        )
    return bool(run.manifest["state"] == "done")


def unfinished(run: Run, job: Job) -> bool:
    """Whether the folder contains an unfinished run of this job."""
    return run.exists and run.job.hash8 == job.hash8 and run.manifest["state"] != "done"


def check_input(task: Task, run: Run, *, overwrite: bool) -> None:
    """Raise `UsageError` if the texts cannot be read, unless the run has them already."""
    kept = run.exists and run.documents_file.exists() and not overwrite
    if isinstance(task.source, CheckedSource) and not kept:
        with blamed(f"the source {task.job.source}"):
            task.source.check_input()


def preview_of(job: Job) -> ModelPreview | None:
    """The sizes of the model of a job, if they are known without its weights."""
    return model_preview(job.model, **model_settings(job))


def load_model(job: Job) -> LanguageModel:
    """The model of a job."""
    return language_model(job.model, **model_settings(job))


def model_settings(job: Job) -> dict[str, str | bool | None]:
    """How the model of a job is loaded."""
    names = ("revision", "dtype", "device", "offline")
    return {name: getattr(job, name) for name in names}


def plan_in(run: Run, task: Task, model: LanguageModel | ModelPreview) -> Plan:
    """The plan of a task.

    Raises `UsageError` for a layer or positions that the model lacks, and `OutOfMemory` if the
    disk has no room for one state of each sampled text.
    """
    plan = plan_of(task.job, model, task.source, run.folder, states_folder(task.job))
    if task.job.skip_first > plan.model.context - 2:
        raise UsageError(
            f"--skip-first {task.job.skip_first} leaves no transition in the context of "
            f"{plan.model.name}, which is {plan.model.context}: give a smaller number"
        )
    if isinstance(task.source, SizedSource) and isinstance(task.source, SamplingSource):
        least = 4 * plan.model.width * len(plan.layers) * task.source.documents_wanted
        if least > plan.disk_free_bytes:
            raise OutOfMemory(
                f"{task.source.documents_wanted} texts need more than {least / 2**30:.0f} GiB "
                f"for their states, but {plan.disk_free_bytes / 2**30:.0f} GiB are free: sample "
                "fewer with --documents"
            )
    return plan


def states_folder(job: Job) -> Path:
    """The folder for captured states."""
    return cache_folder() / "states" if job.cache else Path(tempfile.gettempdir())
