"""What is checked before a model is loaded: the folder of a run, its texts, its layers."""

from sdelens.containment.contained import contained
from sdelens.errors import OutOfMemory, UsageError
from sdelens.model_protocols import ModelPreview
from sdelens.models import language_model, model_preview
from sdelens.protocols import CheckedSource, LanguageModel, SizedSource
from sdelens.runs.disk import states_folder
from sdelens.runs.job import Job
from sdelens.runs.plan import Plan, plan_of
from sdelens.runs.run import Run
from sdelens.runs.task import Task
from sdelens.sampling_protocols import SamplingSource


def check_input(task: Task, run: Run, *, overwrite: bool) -> None:
    """Raise `UsageError` if the texts cannot be read, unless the run has them already."""
    kept = run.exists and run.documents_file.exists() and not overwrite
    if isinstance(task.source, CheckedSource) and not kept:
        with contained(f"the source {task.job.source}"):
            task.source.check_input()


def preview_of(job: Job) -> ModelPreview | None:
    """The sizes of the model of a job, if they are known without its weights."""
    return model_preview(job.model, **job.model_settings)


def load_model(job: Job) -> LanguageModel:
    """The model of a job."""
    return language_model(job.model, **job.model_settings)


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
