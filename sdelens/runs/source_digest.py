"""The hash of a plugin's source."""

import inspect
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from sdelens.registry import KINDS, Plugin, plugins


def source_digest(found: Plugin) -> str | None:
    """sha256 of a plugin's folder or file; None for classes defined in an interpreter.

    For a module in a package, all .py files in and below its folder are hashed. A single module is
    hashed alone, and so is a module in a package whose subpackages contain other plugins, such as
    `sdelens_plugins.analyzers`.
    """
    if found.sha256:
        return found.sha256  # of what was executed
    try:
        kept = found.load()
        file = Path(inspect.getfile(kept))
        package = sys.modules[kept.__module__].__package__
        if not package or _is_collection(package):
            return sha256(file.read_bytes()).hexdigest()
        return folder_digest(file.parent)
    except (OSError, TypeError):
        return None


def folder_digest(folder: Path) -> str:
    """sha256 of names and contents of all .py files, independent of the folder's location."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*.py")}
    total = sha256()
    for name in sorted(files):
        total.update(f"{name} {sha256(files[name].read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _is_collection(package: str) -> bool:
    return any(owner.startswith(f"{package}.") for owner in _packages())


def _packages() -> Iterator[str]:
    """The packages of all known plugins, without importing them."""
    for kind in KINDS:
        for each in plugins(kind).values():
            yield each.target.partition(":")[0].rpartition(".")[0]
