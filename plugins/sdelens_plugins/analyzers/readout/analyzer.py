"""The words that pushes along the drift and the noise raise and lower."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.language.patching import last_site
from sdelens.language.texts import Places, held_out_texts, prompt_or_document, required_model
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens.settings import require_at_least
from sdelens.summary import WORDS
from sdelens_plugins.analyzers.readout.figures import figures, strips
from sdelens_plugins.analyzers.readout.logit_change import UNITS, logit_change
from sdelens_plugins.analyzers.readout.pushes import pushes
from sdelens_plugins.analyzers.readout.results import (
    READING,
    ReadoutResults,
    arrays,
    estimates,
    headline,
)


@dataclass(frozen=True)
class ReadoutAnalyzer:
    """The words that the drift and the leading directions of the noise raise and lower.

    Reports the first `tokens` states of the prompt, or of a test document, with `words` words
    each, ranked by change of their `by` (logit or probability), for the drift and `directions` of
    the noise. Ranks are among `random` directions of each kind, at `places` states of each of the
    first `documents` test documents.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde", "model"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = WORDS
    cost: ClassVar[str] = "a minute"
    quick: ClassVar[dict[str, Any]] = {"tokens": 8, "random": 8}

    tokens: int = 24
    words: int = 5
    by: str = "logit"
    directions: int = 2
    random: int = 16
    documents: int = 24
    places: int = 2

    def __post_init__(self) -> None:
        require_at_least(self, tokens=1, words=1, directions=1, random=1, documents=1, places=1)
        if self.by not in UNITS:
            raise UsageError(f"by must be {' or '.join(UNITS)}, got {self.by!r}")

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, _ = study.single
        text = prompt_or_document(study, tokens=self.tokens)
        local = self._readout(study, Places.all_of(text), derive(seed, "shown"))
        texts = held_out_texts(study, documents=self.documents, states=3)
        overall = local
        if texts:
            places = Places.spread(texts, each=self.places, before_end=2)
            overall = self._readout(study, places, derive(seed, "documents"))
        decode = required_model(study).decode
        return Finding(
            view=str(view),
            headline=headline(decode, text, local, overall),
            reading=READING,
            estimates=estimates(overall),
            arrays=arrays(text, local, overall),
            figures=figures(decode, text, local, overall, len(texts), self.by),
            strips=strips(decode, text, local, self.words, self.by),
            prompt=study.prompt,
        )

    def _readout(self, study: Study, places: Places, seed: int) -> ReadoutResults:
        """The effect of all pushes of some states, by both routes."""
        view, viewed = study.single
        model = required_model(study)
        # a narrow state may have fewer directions than the setting
        directions = min(self.directions, places.states.shape[1])
        displacements = pushes(
            viewed, places, directions=directions, random=self.random, seed=seed
        )
        targets = torch.stack([places.word(1), places.word(2)], dim=1)
        routes = {"network": (view.site, places), "lens": (last_site(model), places.alone())}
        changes = {
            name: logit_change(
                model, site, at, displacements, words=self.words, by=self.by, targets=targets
            )
            for name, (site, at) in routes.items()
        }
        return ReadoutResults(places, displacements, changes, directions, self.random)
