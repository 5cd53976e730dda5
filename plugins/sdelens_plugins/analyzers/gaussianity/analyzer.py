"""Is the next state normally distributed? What its own law is like, and what a mixture gains."""

from dataclasses import dataclass
from typing import ClassVar

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.common.next_token_analyzer import sampler_note
from sdelens_plugins.analyzers.common.number_list import number_list
from sdelens_plugins.analyzers.gaussianity.figures import figures
from sdelens_plugins.analyzers.gaussianity.mixture_gain import MixtureGain
from sdelens_plugins.analyzers.gaussianity.next_states import next_states
from sdelens_plugins.analyzers.gaussianity.prefix_sample import PrefixSampling
from sdelens_plugins.analyzers.gaussianity.results import GaussianityResults

READING = (
    "After a prefix the next state is one of as many points as there are tokens, each with the "
    "probability of its token: that law is known, and at other temperatures the same points have "
    "other weights. Coordinates are standardised on training. Excess kurtosis is of the "
    "projection on the first eigenvector of S*, the law's covariance: 0 for a Gaussian, -2 for "
    "two equally likely points, -1.2 for a flat law, large where one token is nearly certain and "
    "others are far off; hence medians and quartiles over prefixes. Few heavy points often have "
    "negative kurtosis along the direction of most variance whatever they are: beside each figure "
    "stands that of the same states with the weights of tokens permuted, and the difference, "
    "paired by prefix; where there is no difference, chance is enough to explain the shape. That "
    "a law has the kurtosis of a Gaussian does not make it one, and of its other directions "
    "little is said. The largest gap of distribution functions is 0 for a Gaussian and at least "
    "half of the likeliest token's probability, unless other tokens lead to the same state. The "
    "Kullback-Leibler divergence is between Gaussians, one with the law's mean and covariance and "
    "the fit's, and of the eigenvectors of each prefix's S* that hold 95% of its trace; in all "
    "directions, and from the points themselves, it is infinite. A Markov fit that is right in "
    "the mean and in the noise of all prefixes with one state is above 0 still, since it cannot "
    "tell them apart. A fit whose noise is diagonal can be further off than the Gaussian of all "
    "training states, which knows how coordinates correlate. "
)
GAINED = (
    "Mixture and Gaussian are fitted to the texts with the same network, of diagonal noise, in "
    "few steps: with more components and steps a mixture may gain more, and lose nothing. That "
    "part of its gain which a Gaussian with correlations has too is no sign of a law that is not "
    "Gaussian. Intervals are over documents, of one training: they do not say how another one "
    "would come out. "
)


@dataclass(frozen=True)
class GaussianityAnalyzer:
    """The next-state law after `prefixes` prefixes of `documents` test documents, by temperature.

    Of a vocabulary of more than `listed` + `drawn` tokens the `listed` likeliest are enumerated
    and `drawn` more stand for the rest. A mixture of `components` and one Gaussian are trained for
    at least `steps` steps; 0 leaves that out.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"

    documents: int = 64
    prefixes: int = 96
    listed: int = 1024
    drawn: int = 128
    temperatures: str | int | float = "0.5,0.7,1,1.5"
    components: int = 4
    steps: int = 150

    def __post_init__(self) -> None:
        if self.documents < 1:
            raise UsageError(f"documents must be at least 1, got {self.documents}")
        if self.components < 2 or self.steps < 0:
            raise UsageError(
                "a mixture needs 2 components or more, and steps of at least 0, got "
                f"components={self.components} and steps={self.steps}"
            )
        self.fanning(None)  # errors before any work

    def fanning(self, sampler: Sampler | None) -> PrefixSampling:
        """The temperature of the texts is one of those asked for; of other texts it is 1."""
        own = sampler or Sampler()
        asked = {*number_list(self.temperatures, "temperatures", "0.5,1"), own.temperature}
        return PrefixSampling(own, tuple(sorted(asked)), self.prefixes, self.listed, self.drawn)

    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        held = HeldOutPrefixes.of(study, documents=self.documents)
        fanning = self.fanning(study.sampler)
        found = next_states(held.model, view.site, viewed, fanning, held.prefixes, seed=seed)
        if study.sampler is not None:
            found.agreement.require(study.sampler)
        gain = None
        if self.steps:
            gain = MixtureGain.of(study, components=self.components, steps=self.steps, seed=seed)
        shown = GaussianityResults(fanning, held, found, gain, seed)
        return Finding(
            view=str(view),
            headline=shown.headline(),
            reading=READING
            + (GAINED if gain else "")
            + sampler_note(study.sampler, found.agreement)
            + shown.covered(),
            estimates=shown.estimates(),
            arrays=shown.arrays(),
            figures=figures(shown),
        )
