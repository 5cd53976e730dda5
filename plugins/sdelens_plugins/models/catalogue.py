"""Locates models: embedded, in a local folder, or on the hub. Imports no torch."""

import json
from dataclasses import dataclass
from pathlib import Path

from sdelens.errors import UnknownName, UsageError
from sdelens.hub import hub_errors

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
EMBEDDED = Path(__file__).parents[1] / "assets"
FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""Files fetched from the hub. Pickles are excluded, so that loading a model runs no code."""
TEMPLATE = "chat_template.jinja"
CONFIG = ("config.json", "tokenizer_config.json", TEMPLATE)
LEFT_OUT = ("*/*", "consolidated*")
"""Other formats of the same weights, which are not fetched."""
WELL_KNOWN = (
    "gpt2",
    "gpt2-medium",
    "gpt2-large",
    "distilgpt2",
    "EleutherAI/pythia-70m",
    "EleutherAI/pythia-160m",
    "EleutherAI/pythia-410m",
    "meta-llama/Llama-3.2-1B",
    "Qwen/Qwen3-0.6B",
    "google/gemma-2-2b",
    "HuggingFaceTB/SmolLM2-135M",
)
"""Suggested for misspelt names."""


@dataclass(frozen=True)
class Located:
    """A folder in Hugging Face format, with the name and revision of its model."""

    name: str
    folder: Path
    revision: str
    weights: tuple[Path, ...]
    """The files of the weights, which alone are read."""

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
    """Find a model: embedded, then a local folder, then the hub's cache, then the hub.

    Without `weights`, only the configuration is fetched from the hub.
    """
    if name in embedded():
        return Located.at(embedded()[name], name, "embedded")
    if Path(name).is_dir():
        return _local(Path(name))
    if name.startswith((".", "/", "~")):
        raise UnknownName(f"{name} is not a folder: give a folder in Hugging Face format")
    return _from_hub(name, revision, offline=offline, weights=weights)


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
        f"{name} is not in the local cache and {how}. Cached: {cached}. Go on with --model tiny "
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
    return sorted({*embedded(), *WELL_KNOWN, *cached_names()})
