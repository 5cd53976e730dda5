"""How much texts surprise the fit, as a detector of out-of-distribution texts."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens.settings import require_at_least
from sdelens.summary import UNSURE, Summary
from sdelens_plugins.analyzers.common.held_out_documents import HeldOutDocuments
from sdelens_plugins.analyzers.surprise.comparison_texts import comparison_texts
from sdelens_plugins.analyzers.surprise.detection import Detection
from sdelens_plugins.analyzers.surprise.figures import OF_FIT, figures, strips
from sdelens_plugins.analyzers.surprise.path_surprise import PathSurprise
from sdelens_plugins.analyzers.surprise.results import READING, SurpriseResults
from sdelens_plugins.analyzers.surprise.stability import Stability


@dataclass(frozen=True)
class SurpriseAnalyzer:
    """Surprisal of states by token and document, and as an out-of-distribution detector.

    Colours `tokens` tokens of the prompt, or else of a test document. Corrupts the first
    `documents` test documents; loops repeat `span` tokens. Norms are reported in `bins` bins of
    positions. `texts` names a file whose paragraphs are compared too.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = UNSURE
    cost: ClassVar[str] = "seconds"
    tokens: int = 200
    documents: int = 64
    span: int = 8
    bins: int = 8
    texts: str | None = None

    def __post_init__(self) -> None:
        require_at_least(self, tokens=2, documents=1, span=1, bins=1)

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        if study.model is None:
            raise UsageError("surprise needs the language model of the run, but there is none")
        held_out = HeldOutDocuments.of(study, documents=self.documents)
        kinds = comparison_texts(
            study,
            study.model,
            held_out,
            texts=self.texts,
            span=self.span,
            seed=derive(seed, "texts"),
        )
        result = SurpriseResults(
            Detection.of(kinds, seed=derive(seed, "bootstrap")),
            Stability.of(viewed, kinds, bins=self.bins),
            PathSurprise.of(study, self.tokens),
        )
        return Finding(
            view=str(view),
            headline=result.headline(),
            reading=READING,
            estimates=result.estimates(),
            arrays=result.arrays(),
            figures=figures(result),
            strips=strips(result.path),
            prompt=study.prompt,
            summary=Summary(strip=OF_FIT),
        )
