"""States of a prompt at the sites of a study, captured as in its run."""

from collections.abc import Mapping
from dataclasses import dataclass

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.paths.documents import Document, Documents
from sdelens.paths.trajectories import Paths
from sdelens.states.capturing import record, sites_of, with_bos
from sdelens.states.recording import View

QUESTION = "What is the capital of France?"
"""The prompt of the worked example of arXiv 2408.11863."""


@dataclass(frozen=True, eq=False)
class PromptPaths:
    """The prompt as a document, and its paths at each view."""

    document: Documents
    paths: Mapping[View, Paths]


def prompt_paths(study: Study, prompt: str, *, states: int = 2) -> PromptPaths:
    """Capture the states of a prompt in one pass.

    Raises `UsageError` if fewer than `states` states follow the skipped positions. Along the depth
    each token has its own path, and one token is enough.
    """
    if study.model is None:
        raise UsageError(
            "a prompt needs the language model of the run, but it is not loaded: open the run "
            "with its model"
        )
    views = list(study.views)
    origin = study.views[views[0]].fitted.origin
    skipped = 1 if origin is None else origin.skip_first
    ids, context = with_bos(study.model, prompt), study.model.card.context
    if len(ids) > context:
        raise UsageError(
            f"the prompt has {len(ids):,} tokens, but the context of {study.model.card.name} is "
            f"{context:,}: give a shorter prompt"
        )
    through = views[0].axis == "layer"
    least, left = 1 if through else states, max(0, len(ids) - skipped)
    if left < least:
        raise UsageError(
            f"the prompt {prompt!r} must have at least {least} state(s) after the first {skipped} "
            f"skipped position(s), got {left}: give a longer prompt"
        )
    document = Documents.of([Document(tuple(ids))])
    sites = sites_of("embed,all", study.model) if through else [view.site for view in views]
    recording = record(study.model, document, sites, skip_first=skipped)
    return PromptPaths(document, {view: recording.view(view) for view in views})
