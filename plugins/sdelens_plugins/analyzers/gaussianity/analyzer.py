"""Whether the next state is normally distributed, and the gain of a mixture over one Gaussian."""

from dataclasses import dataclass
from typing import Any, ClassVar

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens.settings import require_at_least
from sdelens.states.sampling import Sampler
from sdelens.summary import KIND
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.common.next_token_analyzer import sampler_note
from sdelens_plugins.analyzers.common.number_list import number_list
from sdelens_plugins.analyzers.gaussianity.figures import figures
from sdelens_plugins.analyzers.gaussianity.mixture_gain import MixtureGain
from sdelens_plugins.analyzers.gaussianity.next_states import next_states
from sdelens_plugins.analyzers.gaussianity.prefix_sample import PrefixSampling
from sdelens_plugins.analyzers.gaussianity.prefix_statistics import PrefixStatistics
from sdelens_plugins.analyzers.gaussianity.results import GaussianityResults


@dataclass(frozen=True)
class GaussianityAnalyzer:
    """The next-state law after `prefixes` prefixes of `documents` test documents, by temperature.

    With a vocabulary of more than `listed` + `drawn` tokens, the `listed` most likely tokens are
    enumerated and `drawn` samples represent the rest. A mixture of `components` Gaussians and one
    Gaussian are trained for at least `steps` steps; 0 leaves this out.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = KIND
    cost: ClassVar[str] = "minutes"
    quick: ClassVar[dict[str, Any]] = {"prefixes": 48, "temperatures": 1, "steps": 0}

    documents: int = 64
    prefixes: int = 96
    listed: int = 256
    drawn: int = 64
    temperatures: str | int | float = "0.5,0.7,1,1.5"
    components: int = 4
    steps: int = 150

    def __post_init__(self) -> None:
        require_at_least(self, documents=1)
        if self.components < 2 or self.steps < 0:
            raise UsageError(
                "a mixture needs 2 components or more, and steps of at least 0, got "
                f"components={self.components} and steps={self.steps}"
            )
        self.prefix_sampling(None)  # validates the settings before any work

    def prefix_sampling(self, sampler: Sampler | None) -> PrefixSampling:
        """The sampling of prefixes, with the temperature of the texts (1 without a sampler)."""
        own = sampler or Sampler()
        settings = number_list(self.temperatures, "temperatures", "0.5,1")
        temperatures = tuple(sorted({*settings, own.temperature}))
        return PrefixSampling(own, temperatures, self.prefixes, self.listed, self.drawn)

    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        held = HeldOutPrefixes.of(study, documents=self.documents)
        sampling = self.prefix_sampling(study.sampler)
        states = next_states(held.model, view.site, viewed, sampling, held.prefixes, seed=seed)
        if study.sampler is not None:
            states.agreement.require(study.sampler)
        gain = None
        if self.steps:
            gain = MixtureGain.of(study, components=self.components, steps=self.steps, seed=seed)
        statistics = PrefixStatistics(sampling, held.prefixes.units, states, seed)
        results = GaussianityResults(statistics, held, gain)
        return Finding(
            view=str(view),
            headline=results.headline(),
            reading=results.reading(sampler_note(study.sampler, states.agreement)),
            estimates=results.estimates(),
            arrays=results.arrays(),
            figures=figures(results),
        )
