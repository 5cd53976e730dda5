"""Decomposition of the model's motion into drift, lack of fit, memory and noise."""

from dataclasses import dataclass
from typing import ClassVar

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens.summary import DRIFT
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.common.layer_axis import views_by_depth
from sdelens_plugins.analyzers.common.next_token_analyzer import NextTokenAnalyzer, view_range
from sdelens_plugins.analyzers.decomposition.all_layers import LINEAR, linear_fits
from sdelens_plugins.analyzers.decomposition.figures import figures
from sdelens_plugins.analyzers.decomposition.measurement import measure
from sdelens_plugins.analyzers.decomposition.predictors import LargerProbe, Predictors
from sdelens_plugins.analyzers.decomposition.results import DecompositionResults, reading
from sdelens_plugins.analyzers.decomposition.shares import Decomposition

OWN = "own"


@dataclass(frozen=True)
class DecompositionAnalyzer(NextTokenAnalyzer):
    """Shares of the motion by layer: drift, lack of fit, memory, unexplained, sampling noise.

    Next tokens are sampled as in `NextTokenAnalyzer`. With `fits` "linear", every layer of the
    model gets its own linear fit; with "own", the fits of the run are used. The larger probe has
    `centres` Gaussian bumps and `lags` earlier states, and is fitted to at most `transitions`
    transitions.
    """

    answers: ClassVar[str] = DRIFT
    cost: ClassVar[str] = "seconds"

    fits: str = "own"
    centres: int = 512
    lags: int = 2
    transitions: int = 20_000

    def __post_init__(self) -> None:
        super().__post_init__()
        LargerProbe(self.centres, self.lags, self.transitions)  # validates the settings
        if self.fits not in (OWN, LINEAR):
            raise UsageError(f"fits must be {OWN} or {LINEAR}, got {self.fits!r}")

    def analyze(self, study: Study, *, seed: int) -> Finding:
        *_, last = study.views
        if self.fits == LINEAR:
            study = linear_fits(study, seed=seed)
        held = HeldOutPrefixes.of(study, documents=self.documents)
        larger = LargerProbe(self.centres, self.lags, self.transitions)
        views = views_by_depth(study)
        measurement = measure(
            held.model,
            {v.site: Predictors.of(study.views[v], larger, seed=derive(seed, v)) for v in views},
            self.branch_sampler(study.sampler),
            held.prefixes,
            held.cell,
            cells=held.cells,
            seed=seed,
        )
        note = self.sampling_note(study, measurement.agreement)
        own = study.sampler is not None
        products = (measurement.products[view.site] for view in views)
        results = DecompositionResults(
            views=tuple(views),
            layers=tuple(Decomposition.of(p, held.groups, own=own, seed=seed) for p in products),
            spread=tuple(study.views[view].fitted.basis.spread for view in views),
            held=held,
            measurement=measurement,
            main=views.index(last),
            linear=self.fits == LINEAR,
        )
        return Finding(
            view=view_range(views),
            headline=results.headline(),
            reading=reading(measurement, larger, own=own, linear=self.fits == LINEAR) + note,
            estimates=results.estimates(),
            arrays=results.arrays(),
            figures=figures(results),
            summary=results.summary(),
        )
