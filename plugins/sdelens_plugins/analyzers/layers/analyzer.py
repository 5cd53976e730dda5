"""Comparison of the layers of a run, or of the steps of paths through the depth."""

from dataclasses import dataclass
from typing import ClassVar

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.report import Figure, Finding
from sdelens.settings import require_at_least
from sdelens.states.recording import View
from sdelens.summary import DRIFT
from sdelens_plugins.analyzers.common.held_out_documents import group_numbers
from sdelens_plugins.analyzers.common.layer_axis import views_by_depth
from sdelens_plugins.analyzers.common.section import Section
from sdelens_plugins.analyzers.layers.comparison import LayerComparison
from sdelens_plugins.analyzers.layers.figures import comparison_figures, depth_figures, heatmap
from sdelens_plugins.analyzers.layers.lines_of_thought import LinesOfThought
from sdelens_plugins.analyzers.layers.results import comparison_results, depth_results, map_arrays
from sdelens_plugins.analyzers.layers.surprisal_map import SurprisalMap


@dataclass(frozen=True)
class LayersAnalyzer:
    """Gain, noise and stability by layer; along the depth, rotation, stretch and noise.

    The map shows `tokens` tokens. With ``--axis layer`` a linear map is fitted to each step, with
    a penalty of `ridge` times the mean variance of the states.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "run"
    answers: ClassVar[str] = DRIFT
    cost: ClassVar[str] = "seconds"

    tokens: int = 20
    ridge: float = 1e-4

    def __post_init__(self) -> None:
        require_at_least(self, tokens=1)
        if not self.ridge >= 0:
            raise UsageError(f"ridge must be 0 or more, got {self.ridge}")

    def analyze(self, study: Study, *, seed: int) -> Finding:
        views = views_by_depth(study)
        section, figures = self._section(study, views, seed)
        surprisal = SurprisalMap.of(study, tokens=self.tokens)
        return Finding(
            view=str(views[0]) if len(views) == 1 else f"{views[0]}-{views[-1]}",
            headline=section.sentence,
            reading=section.note,
            estimates=section.estimates,
            arrays={**section.arrays, **map_arrays(surprisal)},
            figures=(*figures, heatmap(surprisal)),
            prompt=study.prompt,
        )

    def _section(
        self, study: Study, views: list[View], seed: int
    ) -> tuple[Section, tuple[Figure, ...]]:
        groups = group_numbers(study.documents.group)
        if views[0].axis == "layer":
            _, viewed = study.single
            lines = LinesOfThought.of(viewed, groups, ridge=self.ridge, seed=seed)
            return depth_results(lines), depth_figures(lines)
        if len(views) < 2:
            raise UsageError(
                f"at least two layers are needed for a comparison, but this run has {views[0]} "
                "only: fit with --layer all, or with --axis layer"
            )
        comparison = LayerComparison.of(study, groups)
        return comparison_results(comparison), comparison_figures(comparison)
