"""What it saves to learn from next states that the model draws, instead of those that occurred."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from sdelens.branching.branch_sampler import BranchSampler
from sdelens.branching.branched_transitions import BranchedTransitions, branched_transitions
from sdelens.branching.next_state_law import next_state_laws
from sdelens.branching.token_choice import TokenChoice
from sdelens.errors import UsageError
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.fitting.study import Study
from sdelens.paths.trajectories import began
from sdelens.protocols import LanguageModel
from sdelens.registry import load
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens.settings import build
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.branched_target.results import SavingResults
from sdelens_plugins.analyzers.branched_target.sample_saving import SIZES, asked, learned
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.common.next_token_analyzer import sampler_note

LEAST = 16
"""Training documents."""
READING = (
    "A probe is fitted to parts of the training documents, once to the steps that occurred and "
    "once to steps to B next states that the model drew after each prefix. The saving is "
    "how many times as many occurred transitions give the loss of the branched ones, read off the "
    "curve of plain fits (linear in one over the documents between sizes; beyond all documents "
    "that is an extrapolation). A branched transition costs B tokens through the model on top of "
    "those that its prefix takes: only where prefixes are dear (long prompts, a slow model to "
    "sample from) or few can branches pay. Errors are over held-out documents and over up to four "
    "disjoint sets of training documents of each size; of all documents there is one set. "
)
OWN = (
    "Losses are of held-out prefixes, under the model's own next states. By theory the saving in "
    "the squared error of a mean is (S + R) / (S / B + R), with S the sampler's noise and R the "
    "model's own motion that the fit does not reach, and 1 + S / R at most, with infinitely many "
    "branches. That takes what is not reached to be independent between prefixes; where it lasts "
    "within a text it averages out more slowly than the sampler's noise, and branches save less. "
)
FOREIGN = (
    "The texts are not the model's own, and the losses are of the states that occurred in them: "
    "the model's own next states teach another law, so that there is no ceiling by theory and a "
    "saving may be below 1. "
)


@dataclass(frozen=True)
class BranchedTargetAnalyzer:
    """By how many times `branches` next tokens of each prefix stretch the training documents.

    `probe` is fitted, with its default settings, to an eighth, a quarter, a half and all of the
    training documents, and to branches of an eighth and of a quarter, all at prefixes that end at
    every `apart`-th position. Losses are of the first
    `documents` of the test documents, at every `every`-th position; `memory` bounds the MiB held.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "view"

    probe: str = "linear"
    branches: int = 8
    apart: int = 1
    documents: int = 256
    every: int = 1
    memory: int = 256

    def __post_init__(self) -> None:
        self._branching(Sampler(), self.branches, self.apart)  # errors before any work
        self._branching(Sampler(), 2, self.every)
        if self.documents < 1:
            raise UsageError(f"documents must be at least 1, got {self.documents}")
        if getattr(load("probe", self.probe), "looks_back", False):
            raise UsageError(f"branches are single steps, but {self.probe} looks further back")

    def _branching(self, sampler: Sampler, branches: int, every: int) -> BranchSampler:
        choice = TokenChoice(branches)
        return BranchSampler(sampler, choice, every=every, memory=self.memory, held=branches)

    def analyze(self, study: Study, *, seed: int) -> Finding:
        held = HeldOutPrefixes.of(study, documents=self.documents)
        view, viewed = study.single
        sampler = study.sampler or Sampler()
        train = sorted(began(viewed.train))
        if len(train) < LEAST:
            raise UsageError(
                f"at least {LEAST} training documents are needed, so that an eighth of them is "
                f"enough to learn from, got {len(train)}: fit to more texts"
            )
        steps = self._steps(study, held.model, train, seed)
        probe = build(load("probe", self.probe), {}, self.probe)
        laws = learned(
            viewed.fitted,
            probe,
            viewed.train,
            viewed.validation,
            steps.recording.view(view),
            train,
            apart=self.apart,
            seed=derive(seed, "learned"),
        )
        found = next_state_laws(
            held.model,
            {view.site: viewed.fitted},
            self._branching(sampler, 2, self.every),
            held.prefixes,
            held.cell,
            kept=0,
            rivals={view.site: {str(lesson): law for lesson, law in laws.items()}},
            directions=False,
            seed=derive(seed, "held out"),
        )
        if study.sampler is not None:
            found.sampler_check.require(study.sampler)
        ones = torch.ones_like(found.words[:1])
        count = found.by(ones, held.cells, held.prefixes.units).sum(1)[0]
        shown = SavingResults(
            view,
            self.probe,
            self.branches,
            {part: len(train) // part for part in SIZES},
            steps,
            found.sites[view.site],
            count,
            Bootstrap.of(count, seed=seed),
            apart=self.apart,
            own=study.sampler is not None,
            seed=derive(seed, "savings"),
        )
        return Finding(
            analyzer="branched_target",
            view=str(view),
            headline=shown.headline(),
            reading=READING
            + (OWN if shown.own else FOREIGN)
            + sampler_note(study.sampler, found.sampler_check),
            estimates=shown.estimates(),
            arrays=shown.arrays(),
            figures=shown.figures(),
        )

    def _steps(
        self, study: Study, model: LanguageModel, train: Sequence[int], seed: int
    ) -> BranchedTransitions:
        """Branches of as many training documents as learn from them."""
        view, viewed = study.single
        origin = viewed.fitted.origin
        if origin is None:
            raise UsageError("branches need the language model of the run, which is not here")
        return branched_transitions(
            model,
            study.documents,
            asked(train),
            [view.site],
            self._branching(study.sampler or Sampler(), self.branches, self.apart),
            origin,
            own=study.sampler is not None,
            seed=derive(seed, "branched"),
        )
