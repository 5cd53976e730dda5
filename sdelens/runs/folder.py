"""Contents of a run's folder, and the parts that may be removed. Imports no torch."""

import os
import re
import shlex
import shutil
from pathlib import Path

from sdelens.errors import UsageError
from sdelens.file_names import file_name
from sdelens.json_text import parsed
from sdelens.regular_file import text_of

MANIFEST = "manifest.json"
"""Written first: a folder with a manifest is a run, finished or not."""
PARTS = ("fits", "analysis", "states", "documents.safetensors", "config.json", "report.html")
"""Other files and folders of a run."""
UNFINISHED_FILE = re.compile(r"\..+\.tmp|\.tmp[A-Za-z0-9]{6}")
"""Names of files in the middle of a write: ours, and those of safetensors."""
UNFINISHED_FOLDER = re.compile(r"\..+\.\d+(\.old)?\.tmp")
"""Names of folders in the middle of a replacement."""
LOCK, WRITER = ".lock", ".writer.json"
"""The lock of the job that writes to a run, and a description of that job; removed at its end."""


NEEDED = ("schema", "settings", "state")
"""Fields by which a manifest of ours is known; manifests of other tools do not count."""


def holds_run(folder: Path) -> bool:
    """Whether the folder contains a run."""
    try:
        return not _missing(folder / MANIFEST)
    except (OSError, ValueError):
        return False


def _missing(file: Path) -> list[str]:
    """The needed fields that a manifest lacks; raises `ValueError` if it is not JSON."""
    manifest = parsed(text_of(file))
    known = manifest if isinstance(manifest, dict) else {}
    return [name for name in NEEDED if name not in known]


def require_run(folder: Path) -> None:
    """Raise `UsageError` unless the folder contains a run with a finished fit."""
    require_utf8(folder)
    try:
        missing = _missing(folder / MANIFEST)
    except OSError:
        raise UsageError(
            f"{folder} is not a run: expected a folder written by sdelens fit"
        ) from None
    except UsageError as error:
        raise UsageError(f"{folder} is not a run: {error}") from None
    except ValueError as error:
        raise UsageError(f"{folder} is not a run: {MANIFEST} is not JSON ({error})") from None
    if missing:
        raise UsageError(f"{folder} is not a run: manifest.json lacks {missing[0]}")
    if not any(folder.glob("fits/*/DONE")):
        words = ("fit", "--config", folder / "config.json", "--out", folder, "--resume")
        finish = shlex.join(map(str, ("sdelens", *words)))
        raise UsageError(f"{folder} contains no finished fit; finish it with: {finish}")


def require_free(folder: Path) -> None:
    """Raise `UsageError` if a folder without a run is not empty, or its name is not UTF-8."""
    require_utf8(folder)
    if not folder.exists():
        return
    files = [file.name for file in folder.iterdir()] if folder.is_dir() else [folder.name]
    copied = PARTS if WRITER in files else ()  # by a process that was killed
    if any(name not in copied and not _left(name) for name in files):
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


def _left(name: str) -> bool:
    """Whether a file is left over from an interrupted job."""
    return name in (LOCK, WRITER) or bool(UNFINISHED_FILE.fullmatch(name))


def clear(folder: Path) -> None:
    """Remove the parts of a run except its manifest, and nothing else; links are not followed."""
    for done in _in_fits(folder, "DONE"):
        done.unlink()  # first: a fit without it is unfinished, whatever else is left
    for name in PARTS:
        part = folder / name
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what is left over from interrupted writes; links are not followed."""
    for place, folders, names in os.walk(folder):
        for name in filter(UNFINISHED_FILE.fullmatch, names):
            Path(place, name).unlink(missing_ok=True)
        for name in filter(UNFINISHED_FOLDER.fullmatch, folders):
            shutil.rmtree(Path(place, name), ignore_errors=True)  # not a link


def _in_fits(folder: Path, pattern: str) -> list[Path]:
    """Files in the folders of fits, without those behind symbolic links."""
    fits = folder / "fits"
    if fits.is_symlink():
        return []
    return [file for fit in fits.glob("*") if not fit.is_symlink() for file in fit.glob(pattern)]


def within(folder: Path, *names: str) -> Path:
    """A folder inside another; raises `UsageError` if a part of the way is a symbolic link."""
    place = folder
    for name in names:
        place = place / file_name(name, "the name of a folder")
        if place.is_symlink():
            raise UsageError(
                f"{place} is a symbolic link, and nothing is written through one: replace it by "
                "a folder"
            )
    return place
