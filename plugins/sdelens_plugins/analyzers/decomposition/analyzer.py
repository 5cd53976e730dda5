"""How much of the model's motion is drift, and what the rest is."""

from dataclasses import dataclass

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.common.layer_axis import views_by_depth
from sdelens_plugins.analyzers.common.next_token_analyzer import NextTokenAnalyzer, view_range
from sdelens_plugins.analyzers.decomposition.all_layers import LINEAR, linear_fits
from sdelens_plugins.analyzers.decomposition.measurement import Measurement, measure
from sdelens_plugins.analyzers.decomposition.predictors import LargerModel, Predictors
from sdelens_plugins.analyzers.decomposition.results import DecompositionResults
from sdelens_plugins.analyzers.decomposition.shares import Decomposition

OWN = "own"
READING = (
    "The metric is the inverse of each coordinate's training variance. Motion is the mean "
    "squared distance from a state to the next; by Pythagoras it is the sum of its parts. Drift "
    "is what the fit foretells, scaled by its gain (1 is calibrated). Hold it against the return "
    "to the mean alone, which says of every state that the training mean at the next position "
    "will follow: drift with no larger share is no more than that. Misfit is what a larger "
    "probe on the same state adds to it, {larger}; memory, what {lags} earlier states add to "
    "that probe. They are lower bounds: another class may reach more. Unreached is the motion "
    "of the model's own mean that none of them foretells; exact states tell their prefix apart, "
    "so that it is of this class and not of the state. The sampler's noise is what the draw of "
    "the next token adds, and no fit can foretell it. "
)
CROSSED = (
    "Coefficients are cross-fitted by document and parts are unbiased, so that one that is "
    "nothing may be a little negative. "
)
ALONE = (
    "There is one document, so that coefficients are fitted to what they are held against, and "
    "the parts foretold are a little too large; there are no intervals. "
)
FOREIGN = (
    "The texts are not the model's own, so that no part of their motion is its sampler's. Drift, "
    "misfit and memory are parts of the motion that occurred; of what they leave, the model's own "
    "next tokens would leave one part, and the other is by how much the text is not the model: "
    "negative where the fit, made to the texts, foretells them better than the model's words. "
)
EVERYWHERE = (
    "Fits are not the run's own, but plain linear ones in standardised coordinates, made for this "
    "question at every layer of the model. "
)
ANEW = "Prefixes do not share a cache in this model, so that each was read anew. "


@dataclass(frozen=True)
class DecompositionAnalyzer(NextTokenAnalyzer):
    """Drift, misfit, memory, what is unreached, and the sampler's noise, layer by layer.

    By next tokens as in `NextTokenAnalyzer`. With `fits` "linear" every layer of the model gets a
    linear fit for this question, instead of the run's "own" at those that it has. The larger
    probe has `centres` bumps, looks back `lags` states and is fitted to `transitions`.
    """

    fits: str = "own"
    centres: int = 512
    lags: int = 2
    transitions: int = 20_000

    def __post_init__(self) -> None:
        super().__post_init__()
        LargerModel(self.centres, self.lags, self.transitions)  # errors before any work
        if self.fits not in (OWN, LINEAR):
            raise UsageError(f"fits must be {OWN} or {LINEAR}, got {self.fits!r}")

    def analyze(self, study: Study, *, seed: int) -> Finding:
        if self.fits == LINEAR:
            study = linear_fits(study, seed=seed)
        held = HeldOutPrefixes.of(study, documents=self.documents)
        larger = LargerModel(self.centres, self.lags, self.transitions)
        views = views_by_depth(study)
        found = measure(
            held.model,
            {v.site: Predictors.of(study.views[v], larger, seed=derive(seed, v)) for v in views},
            self.branch_sampler(study.sampler),
            held.prefixes,
            held.cell,
            cells=held.cells,
            seed=seed,
        )
        tried = self.sampling_note(study, found.agreement)
        own = study.sampler is not None
        parts = DecompositionResults(
            views=tuple(views),
            layers=tuple(
                Decomposition.of(found.products[v.site], held.groups, own=own, seed=seed)
                for v in views
            ),
            spread=tuple(study.views[v].fitted.basis.spread for v in views),
            held=held,
            found=found,
        )
        return Finding(
            analyzer="decomposition",
            view=view_range(views),
            headline=parts.headline(),
            reading=self._reading(study, larger, found) + tried,
            estimates=parts.estimates(),
            arrays=parts.arrays(),
            figures=parts.figures(),
        )

    def _reading(self, study: Study, larger: LargerModel, found: Measurement) -> str:
        kind = FOREIGN if study.sampler is None else ""
        kind += EVERYWHERE if self.fits == LINEAR else ""
        said = READING.format(larger=larger, lags=self.lags)
        crossed = CROSSED if found.agreement.units > 1 else ALONE
        return f"{kind}{said}{crossed}{'' if found.cached else ANEW}"
