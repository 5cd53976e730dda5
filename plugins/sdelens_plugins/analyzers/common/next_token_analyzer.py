"""Settings shared by analyzers that sample the model's next tokens."""

from dataclasses import dataclass
from typing import ClassVar

from sdelens.branching.branch_sampler import BranchSampler
from sdelens.branching.sampler_check import SamplerCheck
from sdelens.branching.token_choice import TokenChoice
from sdelens.fitting.study import Study
from sdelens.settings import require_at_least
from sdelens.states.recording import View
from sdelens.states.sampling import Sampler

UNCHECKED = (
    " Whether the texts were sampled in this way was not checked by their surprisal, because one "
    "document has no standard error."
)


@dataclass(frozen=True)
class NextTokenAnalyzer:
    """Samples `branches` next tokens after every `every`-th prefix of the test documents.

    Only the first `documents` documents are used. With a `coverage`, the most likely tokens are
    enumerated up to that probability and the rest is sampled. `memory` bounds the MiB of text
    states in memory.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "run"

    documents: int = 256
    branches: int = 2
    coverage: float = 0.0
    every: int = 2
    memory: int = 256
    cached: bool = True

    def __post_init__(self) -> None:
        require_at_least(self, documents=1)
        self.branch_sampler(None)  # validates the settings before any work

    def branch_sampler(self, sampler: Sampler | None) -> BranchSampler:
        """The sampler of next tokens; without a sampler of the texts, temperature 1 is used."""
        choice = TokenChoice(self.branches, self.coverage)
        return BranchSampler(sampler or Sampler(), choice, self.every, self.memory, self.cached)

    def sampling_note(self, study: Study, agreement: SamplerCheck) -> str:
        """How texts and next tokens were sampled.

        Raises `UsageError` if the texts do not agree with their recorded sampler.
        """
        if study.sampler is not None:
            agreement.require(study.sampler)
        choice = str(self.branch_sampler(study.sampler).choice)
        return f"{sampler_note(study.sampler, agreement)} {choice[0].upper()}{choice[1:]}."


def view_range(views: list[View]) -> str:
    """The name of several views: the first and the last."""
    return str(views[0]) if len(views) == 1 else f"{views[0]}-{views[-1]}"


def sampler_note(sampler: Sampler | None, agreement: SamplerCheck) -> str:
    """How the texts were sampled, and whether this was checked."""
    if sampler is None:
        return "The texts are not the model's own; next tokens are sampled at temperature 1."
    unchecked = "" if agreement.checked else UNCHECKED
    return f"Next tokens are sampled as the texts were: {sampler}.{unchecked}"
