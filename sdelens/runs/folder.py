"""Contents of a run's folder, and the parts that may be removed. Imports no torch."""

import json
import os
import shlex
import shutil
from pathlib import Path

from sdelens.errors import UsageError

MANIFEST = "manifest.json"
"""Written first: a folder with a manifest is a run, finished or not."""
PARTS = ("fits", "analysis", "states", "documents.safetensors", "config.json", "report.html")
"""Other files and folders of a run."""


def holds_run(folder: Path) -> bool:
    """Whether the folder contains a run; manifests of other tools do not count."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and {"schema", "settings", "state"} <= manifest.keys()


def require_run(folder: Path) -> None:
    """Raise `UsageError` unless the folder contains a run with a finished fit."""
    require_utf8(folder)
    if not holds_run(folder):
        raise UsageError(f"{folder} is not a run: expected a folder written by sdelens fit")
    if not any(folder.glob("fits/*/DONE")):
        words = ("fit", "--config", folder / "config.json", "--out", folder, "--resume")
        finish = shlex.join(map(str, ("sdelens", *words)))
        raise UsageError(f"{folder} contains no finished fit; finish it with: {finish}")


def require_free(folder: Path) -> None:
    """Raise `UsageError` if a folder without a run is not empty, or its name is not UTF-8."""
    require_utf8(folder)
    if not folder.exists():
        return
    if not folder.is_dir() or any(file for file in folder.iterdir() if not _half(file)):
        raise UsageError(
            f"{folder} is not empty and not a run: give another --out, or an empty folder"
        )


def require_writable(folder: Path) -> None:
    """Raise `UsageError` if a folder that does not exist yet cannot be made."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        raise UsageError(f"{folder} cannot be written: choose another place with --out")


def require_utf8(path: Path) -> None:
    """Raise `UsageError` for a path that is not UTF-8, which safetensors cannot open."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{path} must be a UTF-8 path, got other bytes: rename it") from error


def _half(file: Path) -> bool:
    """Whether a file is left over from an interrupted write."""
    return file.name.startswith(".") and file.suffix == ".tmp"


def clear(folder: Path) -> None:
    """Remove the parts of a run except its manifest, and nothing else."""
    for done in folder.glob("fits/*/DONE"):
        done.unlink()  # first: a fit without it is unfinished, whatever else is left
    for name in PARTS:
        part = folder / name
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove files left over from interrupted writes."""
    for file in [*folder.glob(".*.tmp"), *folder.glob("fits/*/.*.tmp")]:
        file.unlink(missing_ok=True)
