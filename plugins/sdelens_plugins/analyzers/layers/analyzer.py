"""The story by depth: every layer of a run beside the others, or lines of thought through them."""

from dataclasses import dataclass
from typing import ClassVar

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens_plugins.analyzers.common.held_out_documents import group_numbers
from sdelens_plugins.analyzers.common.layer_axis import views_by_depth
from sdelens_plugins.analyzers.layers.comparison import LayerComparison
from sdelens_plugins.analyzers.layers.heatmap import Heatmap
from sdelens_plugins.analyzers.layers.lines_of_thought import LinesOfThought


@dataclass(frozen=True)
class LayersAnalyzer:
    """Gain, noise and stability by layer; along the depth rotation, stretch and growing noise.

    The map shows `tokens` tokens. With ``--axis layer`` a linear map is fitted to each step, its
    `ridge` a share of the states' mean variance.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "run"

    tokens: int = 20
    ridge: float = 1e-4

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise UsageError(f"tokens must be at least 1, got {self.tokens}")
        if not self.ridge >= 0:
            raise UsageError(f"ridge must be 0 or more, got {self.ridge}")

    def analyze(self, study: Study, *, seed: int) -> Finding:
        views = views_by_depth(study)
        through = views[0].axis == "layer"
        if len(views) < 2 and not through:
            raise UsageError(
                f"layers are compared where there are several, but this run has {views[0]} only: "
                "fit with --layer all, or with --axis layer"
            )
        groups = group_numbers(study.documents.group)
        section: LayerComparison | LinesOfThought
        if through:
            ((_, viewed),) = study.views.items()
            section = LinesOfThought.of(viewed, groups, ridge=self.ridge, seed=seed)
        else:
            section = LayerComparison.of(study, groups, seed=seed)
        shown = Heatmap.of(study, tokens=self.tokens)
        return Finding(
            analyzer="layers",
            view=str(views[0]) if through else f"{views[0]}-{views[-1]}",
            headline=section.headline(),
            reading=section.reading,
            estimates=tuple(section.estimates()),
            arrays=section.arrays() | shown.arrays(),
            figures=(*section.figures(), shown.figure()),
            prompt=study.prompt,
        )
