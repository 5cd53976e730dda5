"""Copies of a run: files and folders, not what is behind symbolic links."""

import os
import shutil
from pathlib import Path

from sdelens.errors import UsageError
from sdelens.runs.folder import MANIFEST, PARTS, clear
from sdelens.runs.run import Run
from sdelens.runs.saved_findings import failures_of, findings_of
from sdelens.runs.saved_states import STATES
from sdelens.runs.writer import unchanged
from sdelens.states.recording import Recording
from sdelens.store import replaced, writing

NEEDED = (MANIFEST, "config.json", "documents.safetensors", "fits", "fits/*", "fits/*/*")


def copied(run: Run, place: Path, *, states: bool | None = None) -> None:
    """Copy the files of a run to a folder, the manifest last, optionally with states.

    Raises `UsageError` if a file of the run is damaged, or one that it needs is a symbolic link.
    """
    _ = run.manifest
    if states is None:
        states = not run.repeatable
    with unchanged(run.folder):
        require_whole(run.folder)
        for file in (file for pattern in NEEDED for file in run.folder.glob(pattern)):
            if file.is_symlink():
                raise UsageError(
                    f"{file} is a symbolic link, which is not copied: replace it by the file"
                )
        recorded = _verified(run.recording) if states else None
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
            for name in PARTS:
                _copy(run.folder / name if name != STATES else recorded, place / name)
            replaced(place / MANIFEST, lambda new: shutil.copy(run.folder / MANIFEST, new))


def copied_in_place(run: Run, place: Path, *, states: bool | None = None) -> None:
    """Replace a run, or what a killed process copied, by a copy; other files are left alone.

    The copy is complete before anything is replaced, so that one that fails changes nothing.
    """
    new = place / f".copy.{os.getpid()}.tmp"
    try:
        copied(run, new, states=states)
        with writing(place):
            (place / MANIFEST).unlink(missing_ok=True)  # no run until the new one is complete
            clear(place)
            for name in (*PARTS, MANIFEST):
                if (new / name).exists():
                    (new / name).rename(place / name)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _verified(recording: Recording) -> Path:
    """The folder of a recording whose files are still those that were written."""
    Recording.load(recording.folder)
    return recording.folder


def require_whole(folder: Path) -> None:
    """Read all files of a run but its figures; raises `UsageError` for the first damaged one."""
    run = Run(folder)  # another one may have read them before they were damaged
    _ = run.job, run.documents, findings_of(run), failures_of(run)
    for view in run.views:
        run.fitted(view)


def _copy(part: Path | None, place: Path) -> None:
    """Copy a file or a folder; not links, pipes, devices, locks and half-written files."""
    if part is None or part.is_symlink():
        return
    if part.is_file():
        shutil.copy2(part, place)
    elif part.is_dir():
        place.mkdir()
        for inner in part.iterdir():
            if not inner.name.startswith("."):
                _copy(inner, place / inner.name)
