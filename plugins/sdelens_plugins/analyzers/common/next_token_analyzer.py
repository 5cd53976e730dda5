"""What analyzers of the model's own next tokens have in common: how these are tried, and where."""

from dataclasses import dataclass
from typing import ClassVar

from sdelens.branching.branch_sampler import BranchSampler
from sdelens.branching.sampler_check import SamplerCheck
from sdelens.branching.token_choice import TokenChoice
from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.states.recording import View
from sdelens.states.sampling import Sampler

UNCHECKED = (
    " That the texts were drawn so was not checked by their surprisal, since one document has no "
    "standard error."
)


@dataclass(frozen=True)
class NextTokenAnalyzer:
    """Asks about `branches` next tokens after every `every`-th prefix of test documents.

    Of the first `documents`; with a `coverage` the likeliest are enumerated up to that probability
    and the rest is drawn. `memory` bounds the MiB of what is held of texts.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "run"

    documents: int = 256
    branches: int = 2
    coverage: float = 0.0
    every: int = 2
    memory: int = 256
    cached: bool = True

    def __post_init__(self) -> None:
        if self.documents < 1:
            raise UsageError(f"documents must be at least 1, got {self.documents}")
        self.branching(None)  # errors before any work

    def branching(self, sampler: Sampler | None) -> BranchSampler:
        """As the settings say; of texts that are not the model's own its law at temperature 1."""
        choice = TokenChoice(self.branches, self.coverage)
        return BranchSampler(sampler or Sampler(), choice, self.every, self.memory, self.cached)

    def tried(self, study: Study, agreement: SamplerCheck) -> str:
        """How texts and next tokens were drawn; an error where the texts cannot have been so."""
        if study.sampler is not None:
            agreement.require(study.sampler)
        choice = str(self.branching(study.sampler).choice)
        return f"{drawn(study.sampler, agreement)} {choice[0].upper()}{choice[1:]}."


def span(views: list[View]) -> str:
    """The first and the last of several views, in a name."""
    return str(views[0]) if len(views) == 1 else f"{views[0]}-{views[-1]}"


def drawn(sampler: Sampler | None, agreement: SamplerCheck) -> str:
    """How texts were drawn, for a sentence, and whether that was checked."""
    if sampler is None:
        return "The texts are not the model's own; next tokens are drawn at temperature 1."
    nucleus = "" if sampler.top_p == 1 else f", top-p {sampler.top_p:g}"
    banned = ", end of text banned" if sampler.ignore_eos else ""
    unchecked = "" if agreement.checked else UNCHECKED
    return (
        f"Next tokens are drawn as the texts were: temperature {sampler.temperature:g}"
        f"{nucleus}{banned}.{unchecked}"
    )
