"""The hash of the source that a plugin's class is defined by."""

import inspect
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from sdelens.registry import KINDS, Plugin, plugins


def source_digest(found: Plugin) -> str | None:
    """sha256 of a plugin's folder or file; None for a class without one, of an interpreter's.

    A module that is part of a package counts with every .py file in and below its folder. One that
    stands alone counts by itself, and so does one in a package whose subpackages hold other
    plugins, such as `sdelens_plugins.analyzers`.
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
    """sha256 over names and contents of all .py files, wherever the folder lies."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*.py")}
    total = sha256()
    for name in sorted(files):
        total.update(f"{name} {sha256(files[name].read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _is_collection(package: str) -> bool:
    return any(owner.startswith(f"{package}.") for owner in _packages())


def _packages() -> Iterator[str]:
    """The packages of all plugins that are known, none imported."""
    for kind in KINDS:
        for each in plugins(kind).values():
            yield each.target.partition(":")[0].rpartition(".")[0]
