"""What a run's manifest.json says: how it came about, and nothing that its results depend on."""

import inspect
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sdelens.digest import digest
from sdelens.models import adapter_of
from sdelens.paths.documents import Documents
from sdelens.protocols import LanguageModel
from sdelens.registry import Plugin, plugin, plugins
from sdelens.runs.job import Job
from sdelens.runs.run import SCHEMA, Run

PACKAGES = ("sdelens", "torch", "transformers", "transformer-lens", "torchsde", "safetensors")


def manifest_of(job: Job, model: LanguageModel, argv: tuple[str, ...]) -> dict[str, Any]:
    """The manifest of a run that begins."""
    used = (
        adapter_of(model),
        plugins("source").get(job.source),  # none for texts given in Python
        plugin("probe", job.probe),
    )
    return {
        "schema": SCHEMA,
        "state": "running",
        "argv": list(argv),
        "settings": job.json(),
        "model": asdict(model.card),
        "seed": job.seed,
        "versions": dict(_versions()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(getattr(model, "device", "cpu")),
        "threads": torch.get_num_threads(),
        "plugins": [_described(found) for found in used if found],
        "timings": {},
    }


def _versions() -> Iterator[tuple[str, str]]:
    return ((name, version(name)) for name in PACKAGES)


def _described(found: Plugin) -> dict[str, str | None]:
    """Whose a plugin is, and the hash of the file that it came from."""
    return {
        "kind": found.kind,
        "name": found.name,
        "distribution": found.distribution,
        "version": found.version,
        "sha256": found.sha256 or _digest_of(found),
    }


def _digest_of(found: Plugin) -> str | None:
    try:
        return sha256(Path(inspect.getfile(found.load())).read_bytes()).hexdigest()
    except (OSError, TypeError):  # a class without a file: of an interpreter's session
        return None


def note_plugins(run: Run, used: Iterable[tuple[str, str]]) -> None:
    """Put plugins, by kind and name, into the manifest beside those that are there."""
    known = run.manifest["plugins"]
    rows = [_described(plugin(kind, name)) for kind, name in used]
    fresh = [row for row in rows if row not in known]
    if fresh:
        run.note(plugins=[*known, *fresh])


def fingerprints(model: LanguageModel, documents: Documents) -> dict[str, str]:
    """Of the weights, of the tokenizer (its words for the ids that occur), of the texts."""
    words = model.decode(sorted(set(documents.tokens.tolist())))
    return {
        "model": model.card.fingerprint,
        "tokenizer": digest(words),
        "texts": documents.digest(),
    }
