"""Removes information on the user's machine from files that are shared."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sdelens.runs.findings import VALUE, write_value
from sdelens.runs.folder import MANIFEST
from sdelens.runs.left_out import TRACEBACK
from sdelens.runs.seal import DONE, seal
from sdelens.store import read_json, write_json, write_text


def redact(copy: Path, run: Path) -> None:
    """Reduce local paths to file and folder names in a copy of a run.

    The report, tracebacks of analyzers, and the version of the operating system are removed.
    """
    for file in (copy / "report.html", *copy.rglob(f"*.{TRACEBACK}")):
        file.unlink(missing_ok=True)
    manifest = read_json(copy / MANIFEST)
    system = str(manifest["platform"]).partition("-")[0]
    write_json(copy / MANIFEST, manifest | {"platform": system})
    names = local_names(manifest, run)
    for file in sorted(copy.rglob("*.json")):
        text = file.read_text(encoding="utf-8")
        reduced = _reduced(text, names)
        if reduced != text:
            write_text(file, reduced)
            _sealed_again(file)


def local_names(manifest: Mapping[str, Any], run: Path) -> dict[str, str]:
    """What is printed for the files and folders of the user's machine: their names."""
    names = {place: Path(place).name for place in _places(manifest)}
    return names | {str(run): run.name, str(run.resolve()): run.name, str(Path.home()): "~"}


def without_folders(text: str, names: Mapping[str, str]) -> str:
    """A text with local paths reduced to these names.

    >>> without_folders("/home/me/models/llama, layer 3", {"/home/me/models/llama": "llama"})
    'llama, layer 3'
    """
    reduced: str = json.loads(_reduced(json.dumps(text), names))
    return reduced


def _sealed_again(file: Path) -> None:
    """Renew the digest that covers a file."""
    if file.name == VALUE:
        write_value(read_json(file), file.parent)
    elif (file.parent / DONE).exists():
        seal(file.parent)


def _places(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Local files and folders named in the settings and in the command."""
    settings = manifest["settings"]
    inner = settings["source_settings"]
    words = [settings["model"], *inner.values(), *manifest["argv"]]
    words += [word.partition("=")[2] for word in manifest["argv"]]  # --set source.path=…
    yield from (word for word in words if isinstance(word, str) and is_place(word))
    if isinstance(inner.get("path"), str):
        yield inner["path"]


def is_place(word: str) -> bool:
    """Whether a word is a local file or folder.

    >>> is_place("/home/me/texts.txt"), is_place("../texts.txt"), is_place("gpt2")
    (True, True, False)
    """
    begun = word.startswith(("/", "~", ".")) or Path(word).is_absolute()
    return begun or os.path.exists(word)  # noqa: PTH110, since a long word is no error for it


def _reduced(text: str, names: Mapping[str, str]) -> str:
    """JSON with paths reduced to names, longest first, and only at the start of a path."""
    for place in sorted(names, key=len, reverse=True):
        if names[place] and len(place) > 1:
            said = re.escape(_quoted(place))
            parts = re.split(rf"(?<![\w.-]){said}(?![\w-])", text)
            text = _quoted(names[place]).join(parts)
    return text


def _quoted(text: str) -> str:
    """The text as it occurs within a JSON string."""
    return json.dumps(text)[1:-1]
