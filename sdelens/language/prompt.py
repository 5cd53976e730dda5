"""A prompt's states at the sites of a study, captured as those of its documents were."""

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
class Prompted:
    """The prompt as the one document there is, and its paths at each view."""

    document: Documents
    paths: Mapping[View, Paths]


def prompted(study: Study, prompt: str, *, states: int = 2) -> Prompted:
    """In one pass; an error where fewer than so many states follow those that are skipped.

    Along the depth each token has a path, and one token is enough.
    """
    if study.model is None:
        raise UsageError(
            "a prompt needs the model that the run was made with, but there is none: "
            "open the run with it"
        )
    views = list(study.views)
    origin = study.views[views[0]].fitted.origin
    skipped = 1 if origin is None else origin.skip_first
    ids, context = with_bos(study.model, prompt), study.model.card.context
    if len(ids) > context:
        raise UsageError(
            f"the prompt has {len(ids):,} tokens, but {study.model.card.name} reads at most "
            f"{context:,} at once: give a shorter prompt"
        )
    through = views[0].axis == "layer"
    least, left = 1 if through else states, max(0, len(ids) - skipped)
    if left < least:
        raise UsageError(
            f"{least} state(s) are needed, but the prompt {prompt!r} has {left} after the first "
            f"{skipped} position(s), which are skipped: give a longer prompt"
        )
    document = Documents.of([Document(tuple(ids))])
    sites = sites_of("embed,all", study.model) if through else [view.site for view in views]
    recording = record(study.model, document, sites, skip_first=skipped)
    return Prompted(document, {view: recording.view(view) for view in views})
