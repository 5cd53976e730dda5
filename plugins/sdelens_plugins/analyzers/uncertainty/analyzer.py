"""The fit's uncertainty token by token (the paper's Figures 4 and 5), and the model's."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens.settings import require_at_least
from sdelens.summary import UNSURE
from sdelens_plugins.analyzers.common.held_out_documents import HeldOutDocuments
from sdelens_plugins.analyzers.common.observed_path import observed_path, words_of
from sdelens_plugins.analyzers.uncertainty.association import Association
from sdelens_plugins.analyzers.uncertainty.figures import figures, strips
from sdelens_plugins.analyzers.uncertainty.path_noise import PathNoise, component_noise
from sdelens_plugins.analyzers.uncertainty.results import UncertaintyResults


@dataclass(frozen=True)
class UncertaintyAnalyzer:
    """The noise of the fit at each token, its parts, and its rank correlation with entropy.

    Colours `tokens` tokens of the prompt, or else of a test document; figures show the first
    `shown` of them and `components` principal components. Correlations are over the first
    `documents` test documents, with `permutations` of their states as the null.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    wants: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = UNSURE
    cost: ClassVar[str] = "seconds"
    tokens: int = 200
    shown: int = 24
    components: int = 16
    documents: int = 64
    permutations: int = 39

    def __post_init__(self) -> None:
        require_at_least(self, tokens=2, shown=2, components=1, documents=1, permutations=1)

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        path = observed_path(study, tokens=self.tokens)
        held_out = HeldOutDocuments.of(study, documents=self.documents)
        association = Association.of(study, held_out, permutations=self.permutations, seed=seed)
        constant = association.noise_magnitudes.constant
        noise = PathNoise.of(study, path, words_of(study, path.tokens), constant=constant)
        components = None
        if not constant:
            components = component_noise(
                viewed.fitted, viewed.train, path.first(self.shown), self.components
            )
        result = UncertaintyResults(association, noise, components)
        return Finding(
            view=str(view),
            headline=result.headline(),
            reading=result.reading(),
            estimates=result.estimates(),
            arrays=result.arrays(),
            figures=figures(result, self.shown),
            strips=strips(noise),
            prompt=study.prompt,
        )
