"""Goodness of fit on held-out states: gains, calibration, horizons and null data."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from sdelens.fitting.study import Study
from sdelens.report import Figure, Finding
from sdelens.seeds import derive
from sdelens.settings import require_at_least
from sdelens.summary import CALIBRATED, Summary
from sdelens_plugins.analyzers.common.held_out_documents import group_numbers
from sdelens_plugins.analyzers.common.section import Section
from sdelens_plugins.analyzers.goodness_of_fit.calibration import Calibration
from sdelens_plugins.analyzers.goodness_of_fit.figures import (
    calibration_figures,
    gain_figures,
    horizon_figures,
    null_figures,
)
from sdelens_plugins.analyzers.goodness_of_fit.gains import Gains
from sdelens_plugins.analyzers.goodness_of_fit.horizons import ForecastScores
from sdelens_plugins.analyzers.goodness_of_fit.null_data import NullData
from sdelens_plugins.analyzers.goodness_of_fit.results import (
    READING,
    calibration_results,
    gain_results,
    horizon_results,
    null_results,
)
from sdelens_plugins.analyzers.goodness_of_fit.section_skipped import SectionSkipped

HORIZONS = (2, 4, 8)
Part = tuple[Callable[..., Any], Callable[..., Section], Callable[..., tuple[Figure, ...]]]
"""A measurement, its results and its figures."""


@dataclass(frozen=True)
class GoodnessOfFitAnalyzer:
    """Gains over all baselines, calibration, forecasts of several steps, and null data.

    The energy score uses `draws` draws of each prediction; horizons use `paths` simulated paths
    from about `starts` states. Gains by position use `bins` bins, residuals `projections` random
    projections. Null data sets have `nulls` training documents; 0 leaves them out.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = CALIBRATED
    cost: ClassVar[str] = "a minute"
    quick: ClassVar[dict[str, Any]] = {"draws": 8, "paths": 32, "starts": 256, "nulls": 32}
    draws: int = 16
    paths: int = 64
    starts: int = 512
    bins: int = 8
    projections: int = 100
    nulls: int = 96

    def __post_init__(self) -> None:
        require_at_least(self, draws=2, paths=4, starts=1, bins=1, projections=1, nulls=0)

    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, _ = study.single
        sections: list[Section] = []
        figures: list[Figure] = []
        skipped = []
        for number, (measure, results, draw) in enumerate(self._parts(study)):
            try:
                measured = measure(seed=derive(seed, number))
            except SectionSkipped as reason:
                skipped.append(str(reason))
            else:
                sections.append(results(measured))
                figures += draw(measured)
        first, *others = sections
        sentences = [section.sentence for section in others]
        notes = [section.note for section in sections]
        return Finding(
            view=str(view),
            headline=first.sentence,
            details=tuple(sentences),
            reading=" ".join(filter(None, [READING, *skipped, *notes])),
            estimates=tuple(row for section in sections for row in section.estimates),
            arrays={name: t for section in sections for name, t in section.arrays.items()},
            figures=tuple(figures),
            summary=Summary(checks=tuple(check for part in sections for check in part.checks)),
        )

    def _parts(self, study: Study) -> list[Part]:
        _, viewed = study.single
        fitted, groups = viewed.fitted, group_numbers(study.documents.group)
        gains = partial(Gains.of, viewed, groups, draws=self.draws, bins=self.bins)
        calibration = partial(
            Calibration.of,
            fitted.law,
            fitted.encoded(viewed.test),
            groups,
            dim=fitted.basis.latent,
            projections=self.projections,
        )
        forecasts = partial(
            ForecastScores.of,
            viewed,
            groups,
            horizons=HORIZONS,
            starts=self.starts,
            draws=self.paths,
        )
        nulls = partial(NullData.of, study, groups, documents=self.nulls)
        parts: list[Part] = [
            (gains, gain_results, gain_figures),
            (calibration, calibration_results, calibration_figures),
            (forecasts, horizon_results, horizon_figures),
            (nulls, null_results, null_figures),
        ]
        return parts if self.nulls else parts[:-1]
