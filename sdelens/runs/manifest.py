"""What a run's manifest.json says: how it came about, and nothing that its results depend on."""

import inspect
import platform
from collections.abc import Iterator
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
from sdelens.runs.run import SCHEMA

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


def _described(found: Plugin) -> dict[str, str]:
    """Whose a plugin is, and the hash of the file that it came from."""
    source = Path(inspect.getfile(found.load()))
    return {
        "kind": found.kind,
        "name": found.name,
        "distribution": found.distribution,
        "version": found.version,
        "sha256": sha256(source.read_bytes()).hexdigest(),
    }


def fingerprints(model: LanguageModel, documents: Documents) -> dict[str, str]:
    """Of the weights, of the tokenizer (its words for the ids that occur), of the texts."""
    words = model.decode(sorted(set(documents.tokens.tolist())))
    return {
        "model": model.card.fingerprint,
        "tokenizer": digest(words),
        "texts": documents.digest(),
    }
