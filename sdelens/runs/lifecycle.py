"""The state of a run: how its work begins, and how it ends."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sdelens.containment.exits import before_sudden_end
from sdelens.errors import UsageError
from sdelens.protocols import LanguageModel
from sdelens.runs.folder import MANIFEST, clear, require_free, require_writable
from sdelens.runs.job import Job
from sdelens.runs.manifest import manifest_of
from sdelens.runs.run import Run
from sdelens.runs.writer import written_by_another
from sdelens.store import read_json

UNFINISHED = {
    "running": "whose process is still alive",
    "died": "whose process died",
    "failed": "which failed",
    "interrupted": "which was interrupted",
    "incomplete": "whose documents or fits are missing",
}
"""What happened to a run that is not done, by its state."""


def state_of(run: Run) -> str:
    """``done``, or one of `UNFINISHED`.

    A run that no job writes to is not running, but died; one without its files is not done.
    """
    state: str = run.manifest["state"]
    if state == "running" and not written_by_another(run.folder):
        return "died"
    return "incomplete" if state == "done" and not run.complete else state


def is_done(run: Run, job: Job) -> bool:
    """Whether the folder has this job, finished."""
    return run.exists and run.job.hash8 == job.hash8 and state_of(run) == "done"


def unfinished(run: Run, job: Job) -> bool:
    """Whether the folder has this job, not finished."""
    return run.exists and run.job.hash8 == job.hash8 and state_of(run) != "done"


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
    if (state := state_of(run)) != "done" and not resume and run.documents_file.exists():
        raise UsageError(
            f"{run.folder} contains an unfinished run, {UNFINISHED[state]}: add --resume to "
            "continue, or --overwrite to start again"
        )
    return state == "done"


@contextmanager
def begun(
    run: Run, job: Job, model: LanguageModel, argv: tuple[str, ...], *, overwrite: bool
) -> Iterator[None]:
    """Work in a folder whose manifest and config.json are those of this job.

    The manifest notes how the work ends.
    """
    anew = overwrite or not run.exists
    if not anew:
        run.require_same(model)
    with before_sudden_end(lambda: run.note(state="interrupted")):
        try:
            _begin(run, job, model, argv, anew=anew)
            yield
            run.note(state="done")
        except BaseException as error:
            # a generator that is dropped was interrupted before its block could begin or end
            stopped = isinstance(error, KeyboardInterrupt | GeneratorExit)
            with suppress(Exception):  # the disk may be full
                run.note(state="interrupted" if stopped else "failed")
            raise


def _begin(run: Run, job: Job, model: LanguageModel, argv: tuple[str, ...], *, anew: bool) -> None:
    if not anew:
        run.note(state="running")
    else:
        if run.exists:  # not done until the job ends; it may be damaged
            manifest = read_json(run.folder / MANIFEST)
            run.write_manifest(manifest | {"state": "running"})
        clear(run.folder)
        run.write_manifest(manifest_of(job, model, argv))
    run.write_config(job)
    run.job, run.model = job, model
