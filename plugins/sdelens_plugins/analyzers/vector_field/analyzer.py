"""The drift as arrows in planes of principal components (the paper's Figures 4 and 5)."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch

from sdelens.dynamics.sample import Sample
from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens.settings import require_at_least
from sdelens.summary import STABLE
from sdelens_plugins.analyzers.common.observed_path import ObservedPath, observed_path
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents
from sdelens_plugins.analyzers.vector_field import line_figures, line_results
from sdelens_plugins.analyzers.vector_field.figures import figures
from sdelens_plugins.analyzers.vector_field.fixed_points import FixedPointSearch
from sdelens_plugins.analyzers.vector_field.line import Line, LineDrift
from sdelens_plugins.analyzers.vector_field.plane import PlaneDrift
from sdelens_plugins.analyzers.vector_field.results import READING, arrays, estimates, headline


@dataclass(frozen=True)
class VectorFieldAnalyzer:
    """Drift, divergence, curl and fixed points in planes of principal components.

    States that vary, or are fitted, in one direction have a curve instead, with its zeros.

    `components` are the two components of the plane. `field` is ``slice`` (the others at their
    mean) or ``expectation`` (over held-out states, given the plane), at `time` (None for the
    median) on `cells` nodes along an axis. Further panels have all planes of the first `refined`
    components. Fixed points are searched from `starts` states. The path is the first `tokens`
    states of the prompt or of a test document.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    wants: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = STABLE
    cost: ClassVar[str] = "seconds"

    components: str = "1,2"
    field: Literal["slice", "expectation"] = "slice"
    time: float | None = None
    cells: int = 18
    refined: int = 3
    starts: int = 32
    tokens: int = 40

    def __post_init__(self) -> None:
        require_at_least(self, cells=2, refined=1, starts=1, tokens=2)
        if self.field not in ("slice", "expectation"):
            raise UsageError(f"field must be slice or expectation, got {self.field!r}")

    @property
    def plane(self) -> tuple[int, int]:
        """The two components, counted from 0."""
        try:
            first, second = (int(word) - 1 for word in self.components.split(","))
        except ValueError:
            raise UsageError(
                f"components must be two numbers from 1, such as 1,2, got {self.components!r}"
            ) from None
        return first, second

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        train, test = Sample.of(viewed.train), Sample.of(viewed.test)
        t = test.middle() if self.time is None else self.time
        count = max(self.refined, *(k + 1 for k in self.plane), 2)
        if viewed.fitted.basis.latent == 1:
            count = 1
        axes = PrincipalComponents.of(viewed.train, count)
        path = observed_path(study, tokens=self.tokens)
        if len(axes.components) == 1:
            return self._along_line(study, Line(axes), train, test, t, path, seed=seed)
        drift_in = partial(
            PlaneDrift.of,
            fitted=viewed.fitted,
            train=train,
            test=test,
            t=t,
            kind=self.field,
            cells=self.cells,
        )
        plane = drift_in(axes.select(*self.plane), seed=seed)
        further = [
            drift_in(axes.select(*pair), seed=derive(seed, *pair))
            for pair in torch.combinations(torch.tensor(axes.components), 2).tolist()
            if self.refined > 2 and max(pair) < self.refined
        ]
        search = FixedPointSearch.of(viewed, train, t, self.starts)
        return Finding(
            view=str(view),
            headline=headline(plane, search),
            reading=READING,
            estimates=estimates(plane, search),
            arrays=arrays(plane, search, path),
            figures=figures(plane, search, path, further),
            prompt=study.prompt,
        )

    def _along_line(
        self,
        study: Study,
        line: Line,
        train: Sample,
        test: Sample,
        t: float,
        path: ObservedPath,
        *,
        seed: int,
    ) -> Finding:
        """The drift of states that vary in one direction only."""
        view, viewed = study.single
        drift = LineDrift.of(line, viewed.fitted, train, test, t, self.field, seed=seed)
        search = FixedPointSearch.of(viewed, train, t, self.starts, drift.crossings)
        return Finding(
            view=str(view),
            headline=line_results.headline(drift, search),
            reading=line_results.READING,
            estimates=line_results.estimates(drift, search),
            arrays=line_results.arrays(drift, search, path),
            figures=line_figures.figures(drift, search),
            prompt=study.prompt,
        )
