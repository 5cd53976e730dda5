"""The manifest of a run: how it was made, without anything that affects its results."""

import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch

from sdelens.digest import digest
from sdelens.laws.noise_families.table import family_plugin
from sdelens.model_check.check import model_check
from sdelens.models import adapter_of
from sdelens.paths.documents import Documents
from sdelens.protocols import LanguageModel
from sdelens.registry import Plugin, plugin, plugins
from sdelens.runs.job import Job
from sdelens.runs.run import Run
from sdelens.runs.schemas import VERSION
from sdelens.runs.source_digest import source_digest
from sdelens.states.identity import identified

PACKAGES = ("sdelens", "torch", "transformers", "transformer-lens", "torchsde", "safetensors")


def manifest_of(job: Job, model: LanguageModel, argv: tuple[str, ...]) -> dict[str, Any]:
    """The manifest of a new run."""
    used = (
        adapter_of(model),
        plugins("source").get(job.source),  # texts given in Python have no source plugin
        plugin("probe", job.probe),
        family_plugin(str(job.probe_settings.get("noise"))),
    )
    return {
        "schema": VERSION,
        "state": "running",
        "argv": list(argv),
        "settings": job.json(),
        "model": asdict(identified(model)),
        "check": model_check(model).json(),
        "seed": job.seed,
        "versions": dict(_versions()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(model.device),
        "threads": torch.get_num_threads(),
        "plugins": [plugin_row(found) for found in used if found],
        "timings": {},
    }


def _versions() -> Iterator[tuple[str, str]]:
    return ((name, version(name)) for name in PACKAGES)


def plugin_row(found: Plugin) -> dict[str, str | None]:
    """The distribution of a plugin, and the hash of its source."""
    return {
        "kind": found.kind,
        "name": found.name,
        "distribution": found.distribution,
        "version": found.version,
        "sha256": source_digest(found),
    }


def note_plugins(run: Run, used: Iterable[tuple[str, str]]) -> None:
    """Add plugins to the manifest, by kind and name."""
    known = run.manifest["plugins"]
    rows = [plugin_row(plugin(kind, name)) for kind, name in used]
    fresh = [row for row in rows if row not in known]
    if fresh:
        run.note(plugins=[*known, *fresh])


def fingerprints(model: LanguageModel, documents: Documents) -> dict[str, str]:
    """Hashes of the weights, the tokenizer (texts of the ids that occur) and the texts."""
    words = model.decode(sorted(set(documents.tokens.tolist())))
    return {
        "model": model.card.fingerprint,
        "tokenizer": digest(words),
        "texts": documents.digest(),
    }
