"""The plan of a run, with estimates of its size."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdelens.estimation.identifiability import (
    GOOD,
    coordinates_for,
    expected_error,
    transitions_needed,
)
from sdelens.language.chat import has_template
from sdelens.model_protocols import ModelPreview
from sdelens.origin import ModelCard
from sdelens.paths.split import require_enough
from sdelens.protocols import (
    LanguageModel,
    SizedSource,
    Source,
    TruncatedSource,
)
from sdelens.runs.in_memory import GIVEN
from sdelens.runs.job import Job
from sdelens.runs.memory import RunSizes
from sdelens.sampling_protocols import PromptingSource
from sdelens.states.sampling import sampler_of
from sdelens.states.sites import resolve_layers

PROMPT = 48
"""Tokens of a prompt in a chat template, before the prompts are read."""
MANY = 10**6
"""Documents of a source that does not know how many it has."""
TRAIN = 0.8
"""Share of the texts that are trained on."""


@dataclass(frozen=True)
class Plan:
    """Upper estimates, with every document at its full length."""

    model: ModelCard
    device: str
    layers: tuple[str, ...]
    texts: str
    tokens: int | None
    """None where the source does not know how many documents it has."""
    memory_bytes: int
    disk_bytes: int | None
    """Captured states, in the cache or in a temporary folder; None as `tokens`."""
    disk_free_bytes: int
    folder: Path
    probe: str
    basis: str
    axis: str = "token"
    capped: bool = False
    """Whether texts end at the context of the model, before the length asked for."""
    bos: str = "auto"
    """What is in front of texts that are not in a chat template."""
    drift: str = ""
    """How many transitions the drift of a fit of this width needs, and what to do with fewer."""


def plan_of(
    job: Job, model: LanguageModel | ModelPreview, source: Source, folder: Path, cache: Path
) -> Plan:
    """The plan of a job with a model, loaded or not; `cache` is the folder for its states."""
    card, template = model.card, has_template(model)
    layers = resolve_layers(job.recorded, card.blocks, card.name)
    documents = source.documents_wanted if isinstance(source, SizedSource) else None
    if isinstance(source, PromptingSource):
        documents = source.answers_wanted(template=template)
        require_enough(documents)
    length = source.length if isinstance(source, TruncatedSource) else card.context
    length, asked = min(length, card.context - 1), length
    tokens = None if documents is None else documents * length
    each = 4 * card.width * len(layers) * job.kept
    sampler = sampler_of(source)
    prompted = isinstance(source, PromptingSource) and source.described_prompts(template=template)
    sizes = RunSizes(
        card,
        layers=len(layers),
        length=length,
        prompt=PROMPT if prompted else 1,
        documents=MANY if documents is None else documents,
        samples=sampler is not None,
    )
    latent = min(job.basis_spec.rank or card.width, card.width)
    drift = described_drift(latent, None if tokens is None else round(TRAIN * tokens))
    return Plan(
        model=card,
        device=str(model.device),
        layers=tuple(map(str, layers)),
        texts=described_texts(job, source, documents, template=template),
        tokens=tokens,
        memory_bytes=sizes.peak,
        disk_bytes=None if tokens is None else tokens * each,
        disk_free_bytes=free_disk(cache),
        folder=folder,
        probe=described_probe(job),
        basis=job.basis if job.center == "all" else f"{job.basis}, centred per position",
        axis=job.axis,
        capped=isinstance(source, TruncatedSource) and length < asked,
        bos=described_bos(job, model),
        drift=drift if job.axis == "token" else "",
    )


def described_bos(job: Job, model: LanguageModel | ModelPreview) -> str:
    """What is in front of texts that are not in a chat template; the setting until it is known."""
    if isinstance(model, ModelPreview):
        return job.bos
    bos = model.card.bos
    word = "no BOS" if bos is None else f"{model.decode([bos])[0]!r} in front"
    return f"{word} ({job.bos})"


def described_drift(dim: int, transitions: int | None) -> str:
    """The transitions that a linear drift needs, and the remedies if there are fewer."""
    needed = transitions_needed(dim, GOOD)
    wanted = f"about {needed:,} transitions for an error of {GOOD:.0%} of a linear drift"
    if transitions is None:
        return wanted
    error = expected_error(dim, transitions)
    if error <= GOOD:
        return f"{wanted}; {transitions:,} give about {error:.0%}"
    few = coordinates_for(transitions, GOOD)
    given = f"about {error:.0%}" if error < 1 else "no drift at all"
    basis = f"--basis pca:{few}, " if few >= 1 else ""
    return (
        f"{wanted}; {transitions:,} give {given} without a penalty: sample more texts, or use "
        f"{basis}--probe low-rank-linear, or the ridge that linear and neural fits choose on "
        "validation"
    )


def described_probe(job: Job) -> str:
    """Description of the fit."""
    ensemble = f", ensemble of {job.ensemble}" if job.ensemble else ""
    branches = f", from {job.branches} next states of each prefix" if job.branches else ""
    return f"{job.probe}{ensemble}{branches}"


def described_texts(
    job: Job, source: Source, documents: int | None, *, template: bool = False
) -> str:
    """Description of the texts; `template` says whether the model has a chat template."""
    settings: dict[str, Any] = dict(job.source_settings)
    if sampler := sampler_of(source):
        number = "" if documents is None else f"{documents} "
        if isinstance(source, PromptingSource):
            prompts = source.described_prompts(template=template)
            if prompts is not None:
                return f"up to {number}answers of the model {prompts}, sampled at {sampler}"
        return f"{number}sampled from the model at {sampler}"
    if job.source == GIVEN:
        return f"{documents} given in Python"
    whence = settings.get("path") or settings.get("name") or job.source
    return f"all of {whence}" if documents is None else f"up to {documents} of {whence}"


def free_disk(folder: Path) -> int:
    """Free bytes on the disk of a folder, which need not exist yet."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
