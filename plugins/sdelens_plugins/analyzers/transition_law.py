"""The model's own law of the next state: its mean, its noise, and how many words it has."""

from dataclasses import dataclass
from typing import ClassVar

from sdelens.branching.branched import Branching
from sdelens.branching.choice import Choice
from sdelens.branching.transition import transitions
from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.held_prefixes import HeldPrefixes, sampled_words
from sdelens_plugins.analyzers.law_figures import LawShown
from sdelens_plugins.analyzers.layer_map import in_order

READING = (
    "For a prefix the law of the next state is known: the next token v has the probability that "
    "the model gives it, and the next state is the layer's after v. m* is its mean and S* its "
    "covariance, here in training-standardised coordinates and averaged over prefixes; of each "
    "single prefix the branches tell little. Effective branches are exp of the entropy of the "
    "next token, and 1 over the sum of its squared probabilities. A Markov fit that is right "
    "has the noise S* + (m* - m)(m* - m)', which is more than S* wherever states do not tell "
    "m*; agreement with it is by prefixes, corrected for the error of their branches. "
)


@dataclass(frozen=True)
class TransitionLawAnalyzer:
    """m*, S*, the entropy of the next token and effective branches, in one pass for all layers.

    Over the first `documents` test documents, `branches` next tokens after every `every`-th prefix
    (or enumerated up to a `coverage`); m* of the first `kept` prefixes is saved.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "run"
    documents: int = 256
    branches: int = 2
    coverage: float = 0.0
    every: int = 2
    kept: int = 256
    memory: int = 256
    cached: bool = True

    def __post_init__(self) -> None:
        if self.documents < 1:
            raise UsageError(f"documents must be at least 1, got {self.documents}")
        self.branching(None)  # errors before any work
        if self.kept < 0:
            raise UsageError(f"kept must be at least 0, got {self.kept}")

    def branching(self, sampler: Sampler | None) -> Branching:
        """As the settings say; of texts that are not the model's own its law at temperature 1."""
        choice = Choice(self.branches, self.coverage)
        return Branching(sampler or Sampler(), choice, self.every, self.memory, self.cached)

    def analyze(self, study: Study, *, seed: int) -> Finding:
        held = HeldPrefixes.of(study, documents=self.documents)
        branching = self.branching(study.sampler)
        views = in_order(study)
        found = transitions(
            held.model,
            {view.site: study.views[view].fitted for view in views},
            branching,
            held.prefixes,
            held.cell,
            kept=self.kept,
            seed=seed,
        )
        if study.sampler is not None:
            found.agreement.require(study.sampler)
        shown = LawShown(tuple(views), held, found, seed)
        drawn = sampled_words(study.sampler, found.agreement)
        choice = str(branching.choice)
        return Finding(
            analyzer="transition_law",
            view=str(views[0]) if len(views) == 1 else f"{views[0]}-{views[-1]}",
            headline=shown.headline(),
            reading=f"{READING}{drawn} {choice[0].upper()}{choice[1:]}.",
            estimates=shown.estimates(),
            arrays=shown.arrays(),
            figures=shown.figures(),
        )
