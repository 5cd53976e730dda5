"""Copies of a run: files and folders, not what is behind symbolic links."""

import shutil
from pathlib import Path

from sdelens.errors import UsageError
from sdelens.runs.folder import MANIFEST, PARTS
from sdelens.runs.run import Run
from sdelens.runs.saved_findings import failures_of, findings_of
from sdelens.runs.saved_states import STATES
from sdelens.runs.writer import unchanged
from sdelens.store import replaced, writing

NEEDED = (MANIFEST, "config.json", "documents.safetensors", "fits", "fits/*", "fits/*/*")


def copied(run: Run, place: Path, *, states: bool | None = None) -> None:
    """Copy the files of a run, the manifest last, optionally with states.

    Raises `UsageError` if a file that the run needs is a symbolic link.
    """
    _ = findings_of(run), failures_of(run)  # damaged files are not passed on
    if states is None:
        states = not run.repeatable
    with unchanged(run.folder):
        for file in (file for pattern in NEEDED for file in run.folder.glob(pattern)):
            if file.is_symlink():
                raise UsageError(
                    f"{file} is a symbolic link, which is not copied: replace it by the file"
                )
        recorded = run.recording.folder if states else None
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
            for name in PARTS:
                _copy(run.folder / name if name != STATES else recorded, place / name)
            replaced(place / MANIFEST, lambda new: shutil.copy(run.folder / MANIFEST, new))


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
