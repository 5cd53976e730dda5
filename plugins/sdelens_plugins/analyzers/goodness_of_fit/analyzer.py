"""How well the fitted law describes held-out states: gains, calibration, horizons, nulls."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.held_out_documents import group_numbers
from sdelens_plugins.analyzers.goodness_of_fit.calibration import Calibration
from sdelens_plugins.analyzers.goodness_of_fit.gains import Gains
from sdelens_plugins.analyzers.goodness_of_fit.horizons import ForecastScores
from sdelens_plugins.analyzers.goodness_of_fit.null_data import NullData
from sdelens_plugins.analyzers.goodness_of_fit.sections import Section, SectionSkipped

HORIZONS = (2, 4, 8)
READING = (
    "Everything is measured on held-out documents; a document is one observation, so that the "
    "intervals resample whole documents. Gains are paired: both laws score the same steps. "
    "Those with constant noise compare means alone; with state-dependent noise, each mean has "
    "noise of that kind fitted around it. CRPS and energy score are proper scores too, in the "
    "units of the states; they punish a state far out in the tails less than the likelihood "
    "does. If the law were true, the residuals r of each step (the next state less its mean, "
    "whitened by the law's own covariance) would be independent standard normal: the "
    "distances say by how much they are not, which with many transitions matters more than "
    "whether they are not; random projections of many coordinates come out nearly normal "
    "whatever these are. Coverage below nominal means a law that is too sure. The iterated "
    "kernel is worse than a direct fit where the states remember more than the last one, or "
    "where its drift is off in a way that adds up; that it is not worse does not show that "
    "the process is Markov. The nulls say what part of a gain needs neither training nor word "
    "order: in states permuted in time, what is left is what tells documents apart. The "
    "states of an untrained model are little more than the words themselves, so that a linear "
    "fit finds the statistics of the text in them, and a gain there can exceed the trained "
    "model's. None of this shows a diffusion."
)


@dataclass(frozen=True)
class GoodnessOfFitAnalyzer:
    """Gains over all baselines with intervals, calibration, horizons, and the same on null data.

    `draws` of each prediction make an energy score; horizons are of `paths` simulated paths from
    about `starts` states; `bins` of positions; `projections` of the residuals; null data sets are
    of `nulls` training documents, none if it is 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "view"
    draws: int = 16
    paths: int = 64
    starts: int = 512
    bins: int = 8
    projections: int = 100
    nulls: int = 96

    def __post_init__(self) -> None:
        least = {"draws": 2, "paths": 4, "starts": 1, "bins": 1, "projections": 1, "nulls": 0}
        for name, number in least.items():
            if getattr(self, name) < number:
                raise UsageError(f"{name} must be at least {number}, got {getattr(self, name)}")

    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, _ = study.single
        sections, left_out = self._sections(study, seed)
        notes = [*left_out, *(s.note for s in sections if isinstance(s, NullData))]
        first = [s.headline() for s in sections if isinstance(s, Gains | Calibration)]
        rest = [s.headline() for s in sections if not isinstance(s, Gains | Calibration)]
        return Finding(
            analyzer="goodness_of_fit",
            view=str(view),
            headline=" ".join(first),
            reading=" ".join(filter(None, [*rest, READING, *notes])),
            estimates=tuple(e for section in sections for e in section.estimates()),
            arrays={name: t for section in sections for name, t in section.arrays().items()},
            figures=tuple(f for section in sections for f in section.figures()),
        )

    def _sections(self, study: Study, seed: int) -> tuple[list[Section], list[str]]:
        """Those that can be, and why the others cannot."""
        _, viewed = study.single
        groups = group_numbers(study.documents.group)
        test = viewed.fitted.encoded(viewed.test)
        asked: Sequence[Callable[..., Section]] = (
            partial(Gains.of, viewed, groups, draws=self.draws, bins=self.bins),
            partial(
                Calibration.of,
                viewed.fitted.law,
                test,
                groups,
                dim=viewed.fitted.basis.latent,
                projections=self.projections,
            ),
            partial(
                ForecastScores.of,
                viewed,
                groups,
                horizons=HORIZONS,
                starts=self.starts,
                draws=self.paths,
            ),
            *([partial(NullData.of, study, groups, documents=self.nulls)] if self.nulls else []),
        )
        found, left_out = [], []
        for number, ask in enumerate(asked):
            try:
                found.append(ask(seed=derive(seed, number)))
            except SectionSkipped as reason:
                left_out.append(str(reason))
        return found, left_out
