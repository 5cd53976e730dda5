"""Digests of the files of a fit, in DONE, which is written last.

Fits of earlier versions have an empty DONE, so that only their form can be checked.
"""

from pathlib import Path

from sdelens.schema import checked, damaged
from sdelens.store import file_digest, read_json, require_file, write_json

DONE = "DONE"
FILES = ("config.json", "metrics.json", "sde.safetensors", "train.jsonl", "members.safetensors")


def seal(folder: Path) -> None:
    """Write DONE, which marks a fit as complete, with the digests of its files."""
    present = (name for name in FILES if (folder / name).exists())
    write_json(folder / DONE, {name: file_digest(folder / name) for name in present})


def require_sealed(file: Path) -> None:
    """Raise `UsageError` if a file is not as the fit wrote it."""
    digests = _digests(file.parent)
    if digests and file.name not in digests:
        damaged(file.parent / DONE, file.name, "must have a sha256")
    if digests and digests[file.name] != file_digest(file):
        damaged(file, "", "must be as the fit wrote it, but its sha256 differs from that in DONE")


def is_intact(file: Path) -> bool:
    """Whether a file is known to be as the fit wrote it."""
    return _digests(file.parent).get(file.name) == file_digest(file)


def _digests(folder: Path) -> dict[str, str]:
    file = folder / DONE
    require_file(file)
    empty = file.stat().st_size == 0
    found: dict[str, str] = {} if empty else checked(dict[str, str], read_json(file), file)
    return found
