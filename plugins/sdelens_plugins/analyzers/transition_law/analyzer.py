"""The model's own law of the next state: its mean, its noise, and how many words it has."""

from dataclasses import dataclass

from sdelens.branching.next_state_law import next_state_laws
from sdelens.errors import UsageError
from sdelens.fitting.metrics import CONSTANT
from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.common.layer_axis import views_by_depth
from sdelens_plugins.analyzers.common.next_token_analyzer import NextTokenAnalyzer, view_range
from sdelens_plugins.analyzers.common.refitted_baselines import RefittedBaselines
from sdelens_plugins.analyzers.transition_law.results import LawResults

READING = (
    "For a prefix the law of the next state is known: the next token v has the probability that "
    "the model gives it, and the next state is the layer's after v. m* is its mean and S* its "
    "covariance, here in training-standardised coordinates and averaged over prefixes; of each "
    "single prefix the branches tell little. Effective branches are exp of the entropy of the "
    "next token, and 1 over the sum of its squared probabilities. A Markov fit that is right "
    "has the noise S* + (m* - m)(m* - m)', which is more than S* wherever states do not tell "
    "m*; agreement with it is by prefixes, corrected for the error of their branches. The "
    "model's law is of points, so that its divergence from a density is infinite; its "
    "cross-entropy is not, and differences of it are differences of divergence. "
)


@dataclass(frozen=True)
class TransitionLawAnalyzer(NextTokenAnalyzer):
    """m*, S*, the entropy of the next token and effective branches, in one pass for all layers.

    By next tokens as in `NextTokenAnalyzer`; m* of the first `kept` prefixes is saved.
    """

    kept: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kept < 0:
            raise UsageError(f"kept must be at least 0, got {self.kept}")

    def analyze(self, study: Study, *, seed: int) -> Finding:
        held = HeldOutPrefixes.of(study, documents=self.documents)
        views = views_by_depth(study)
        rivals = {view.site: RefittedBaselines.of(study.views[view]) for view in views}
        found = next_state_laws(
            held.model,
            {view.site: study.views[view].fitted for view in views},
            self.branch_sampler(study.sampler),
            held.prefixes,
            held.cell,
            kept=self.kept,
            rivals={s: {**found.laws, CONSTANT: found.mean} for s, found in rivals.items()},
            seed=seed,
        )
        tried = self.sampling_note(study, found.sampler_check)
        shown = LawResults(tuple(views), held, found, seed)
        return Finding(
            view=view_range(views),
            headline=shown.headline(),
            reading=READING + tried,
            estimates=shown.estimates(),
            arrays=shown.arrays(),
            figures=shown.figures(),
        )
