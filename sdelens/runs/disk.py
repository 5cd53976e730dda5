"""Where the states of a run are captured, and whether its disk has room for them."""

import tempfile
from pathlib import Path

from sdelens.errors import OutOfMemory
from sdelens.runs.job import Job
from sdelens.runs.plan import free_disk
from sdelens.runs.run import Run
from sdelens.states.capturing import key_of, origin_of
from sdelens.states.recording import INDEX
from sdelens.states.state_cache import StateCache


def states_folder(job: Job) -> Path:
    """The folder for captured states."""
    return StateCache.of_user().folder if job.cache else Path(tempfile.gettempdir())


def require_disk(run: Run) -> None:
    """Raise `OutOfMemory` if the states are not cached and do not fit on the disk."""
    job, place = run.job, states_folder(run.job)
    origin = origin_of(run.model, run.documents, run.sites, skip_first=job.skip_first)
    if job.cache and (place / key_of(origin) / INDEX).exists():
        return
    tokens, free = int(run.documents.lengths.sum()), free_disk(place)
    if (needed := 4 * tokens * run.model.card.width * len(run.sites)) > free:
        raise OutOfMemory(
            f"the states of {tokens} tokens need {needed / 2**30:.1f} GiB, but {place} has "
            f"{free / 2**30:.1f} GiB free: set SDELENS_CACHE (or TMPDIR with --no-cache) to "
            "another disk, or use fewer documents or layers"
        )
