"""The needs of analyzers, checked before any work."""

from collections.abc import Callable, Collection
from typing import Any

import torch

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.laws.sde import SDE
from sdelens.protocols import NEEDS, Analyzer, LanguageModel, Site

MODEL = ("model", "attention")
"""Needs that can only be checked with the model."""
SHAPE = 4
"""Axes of an attention pattern: batch, head, time, time."""


def require_needs(
    analyzer: Analyzer[Study], name: str, study: Study, needs: Collection[str] = NEEDS
) -> None:
    """Raise `UsageError` if the study lacks something that the analyzer needs."""
    for need in NEEDS:
        if need in needs and need in analyzer.needs and (lack := LACKS[need](study)):
            raise UsageError(f"the analyzer {name} {lack}")


def _sde(study: Study) -> str | None:
    for view, viewed in study.views.items():
        if not isinstance(viewed.fitted.law, SDE):
            probe = viewed.fitted.record.probe
            return (
                f"needs an SDE, but the fit of {view} by {probe!r} is not an SDE: fit with "
                "--probe neural, linear or constant"
            )
    return None


def _ensemble(study: Study) -> str | None:
    for view, viewed in study.views.items():
        if not viewed.fitted.members:
            return f"needs an ensemble, but the fit of {view} has none: fit with --ensemble 5"
    return None


def _prompt(study: Study) -> str | None:
    return None if study.prompt else 'needs a prompt: add --prompt "…", or prompt= in Python'


def _model(study: Study) -> str | None:
    if study.model is not None:
        return None
    return "needs the model of the run, which is not loaded: give it to sdelens.load(run, model)"


def _attention(study: Study) -> str | None:
    if study.model is None:
        return _model(study)
    if reads_attention(study.model):
        return None
    return (
        f"needs attention patterns, which the adapter of {study.model.card.name} does not read: "
        "load the model by its name, or attach a TransformerBridge"
    )


@torch.no_grad()
def reads_attention(model: LanguageModel) -> bool:
    """Whether the attention pattern of the first block can be read, checked on one token."""
    site, token = Site("attention", 0), torch.tensor([[model.card.bos or 0]])
    try:
        found: Any = model.run(token, read=[site]).reads[site]
    except (LookupError, ValueError, AttributeError, NotImplementedError, RuntimeError):
        return False
    return bool(found.ndim == SHAPE)


LACKS: dict[str, Callable[[Study], str | None]] = {
    "sde": _sde,
    "ensemble": _ensemble,
    "prompt": _prompt,
    "model": _model,
    "attention": _attention,
}
"""For each need, what a study lacks and what to do about it, as the end of a sentence."""
