"""Actual and predicted paths in two principal components, and prediction errors by horizon."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens.settings import require_at_least
from sdelens.summary import STABLE
from sdelens_plugins.analyzers.common.observed_path import first_paths, observed_path, words_of
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents
from sdelens_plugins.analyzers.trajectory.figures import figures
from sdelens_plugins.analyzers.trajectory.free_run import Horizons, linear_mean
from sdelens_plugins.analyzers.trajectory.path_prediction import PathPrediction
from sdelens_plugins.analyzers.trajectory.results import HORIZONS, TrajectoryResults
from sdelens_plugins.analyzers.trajectory.state_path import state_path


@dataclass(frozen=True)
class TrajectoryAnalyzer:
    """The path of the prompt, or else of a test document, beside the fit's predictions.

    States that vary in one direction are drawn against time. Figures have the first `tokens`
    states of the path, and the interactive plane has the first `text`. Free-running bands are of
    `paths` simulated paths; distances are means over the first `documents` test documents.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    wants: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = STABLE
    cost: ClassVar[str] = "seconds"

    tokens: int = 40
    text: int = 200
    paths: int = 64
    documents: int = 64

    def __post_init__(self) -> None:
        require_at_least(self, tokens=2, text=2, paths=2, documents=1)

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        fitted = viewed.fitted
        text = observed_path(study, tokens=max(self.tokens, self.text))
        path, words = text.first(self.tokens), words_of(study, text.tokens)
        plane = PrincipalComponents.of(viewed.train, 2)
        starts = first_paths(
            viewed.test,
            documents=self.documents,
            states=HORIZONS[-1] + 1,
            group=study.documents.group,
        )
        prediction = PathPrediction.of(
            fitted,
            plane,
            path,
            words[: self.tokens],
            draws=self.paths,
            seed=derive(seed, "path"),
        )
        horizons = Horizons.of(
            fitted, linear_mean(viewed), plane, starts, draws=self.paths, seed=seed
        )
        result = TrajectoryResults(fitted, prediction, horizons)
        return Finding(
            view=str(view),
            headline=result.headline(),
            reading=result.reading(),
            estimates=result.estimates(),
            arrays=result.arrays(),
            figures=figures(result),
            prompt=study.prompt,
            paths=(state_path(fitted, plane, text, words),) if any(words) else (),
        )
