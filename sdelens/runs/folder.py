"""What a run's folder holds, and what of it is ours to remove. Imports no torch."""

import json
import shutil
from pathlib import Path

from sdelens.errors import UsageError

MANIFEST = "manifest.json"
"""Written first: a folder with it is a run, finished or not."""
PARTS = ("fits", "analysis", "states", "documents.safetensors", "config.json", "report.html")
"""What lies beside the manifest."""


def holds_run(folder: Path) -> bool:
    """Whether a run was begun here; another tool's manifest is none of ours."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and {"schema", "settings", "state"} <= manifest.keys()


def require_run(folder: Path) -> None:
    """An error where there is no run, or none with a finished fit."""
    if not holds_run(folder):
        raise UsageError(f"{folder} is not a run: expected a folder that sdelens fit wrote")
    if not any(folder.glob("fits/*/DONE")):
        raise UsageError(f"{folder} holds no finished fit: run sdelens fit --resume first")


def require_free(folder: Path) -> None:
    """An error where a folder that holds no run holds anything else."""
    if not folder.exists():
        return
    if not folder.is_dir() or any(file for file in folder.iterdir() if not _half(file)):
        raise UsageError(
            f"{folder} holds something that is not a run: give another --out, or an empty folder"
        )


def _half(file: Path) -> bool:
    """Whether a file was being written when its process was killed."""
    return file.name.startswith(".") and file.suffix == ".tmp"


def clear(folder: Path) -> None:
    """Remove what a run writes besides its manifest, and nothing else that lies there."""
    for done in folder.glob("fits/*/DONE"):
        done.unlink()  # first: a fit without it is unfinished, whatever else is left
    for name in PARTS:
        part = folder / name
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove files that were being written when a process was killed."""
    for file in [*folder.glob(".*.tmp"), *folder.glob("fits/*/.*.tmp")]:
        file.unlink(missing_ok=True)
