"""The model's own law of the next state: its mean, its noise and its effective branches."""

from dataclasses import dataclass
from typing import ClassVar

from sdelens.branching.next_state_law import next_state_laws
from sdelens.fitting.metrics import CONSTANT
from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens.settings import require_at_least
from sdelens.summary import KIND
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.common.layer_axis import views_by_depth
from sdelens_plugins.analyzers.common.next_token_analyzer import NextTokenAnalyzer, view_range
from sdelens_plugins.analyzers.common.refitted_baselines import RefittedBaselines
from sdelens_plugins.analyzers.transition_law.figures import figures
from sdelens_plugins.analyzers.transition_law.law_averages import LawAverages
from sdelens_plugins.analyzers.transition_law.results import READING, arrays, estimates, headline


@dataclass(frozen=True)
class TransitionLawAnalyzer(NextTokenAnalyzer):
    """m*, S*, the entropy of the next token and effective branches, in one pass for all layers.

    Next tokens are sampled as in `NextTokenAnalyzer`; m* of the first `kept` prefixes is saved.
    """

    answers: ClassVar[str] = KIND
    cost: ClassVar[str] = "seconds"

    kept: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, kept=0)

    def analyze(self, study: Study, *, seed: int) -> Finding:
        held_out = HeldOutPrefixes.of(study, documents=self.documents)
        views = views_by_depth(study)
        baselines = {view.site: RefittedBaselines.of(study.views[view]) for view in views}
        laws = next_state_laws(
            held_out.model,
            {view.site: study.views[view].fitted for view in views},
            self.branch_sampler(study.sampler),
            held_out.prefixes,
            held_out.cell,
            kept=self.kept,
            rivals={site: {**b.laws, CONSTANT: b.mean} for site, b in baselines.items()},
            seed=seed,
        )
        averages = LawAverages(tuple(views), held_out, laws, seed)
        return Finding(
            view=view_range(views),
            headline=headline(averages),
            reading=READING + self.sampling_note(study, laws.sampler_check),
            estimates=estimates(averages),
            arrays=arrays(averages),
            figures=figures(averages),
        )
