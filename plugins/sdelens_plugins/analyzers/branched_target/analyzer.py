"""Sample savings from training on sampled next states instead of those that occurred."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from sdelens.branching.branch_sampler import BranchSampler
from sdelens.branching.branched_transitions import BranchedTransitions, branched_transitions
from sdelens.branching.next_state_law import next_state_laws
from sdelens.branching.token_choice import TokenChoice
from sdelens.errors import UsageError
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.fitting.study import Study
from sdelens.interfaces import load
from sdelens.paths.trajectories import began
from sdelens.protocols import LanguageModel
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens.settings import build, require_at_least
from sdelens.states.sampling import Sampler
from sdelens.summary import REAL
from sdelens_plugins.analyzers.branched_target.figures import learning_curves
from sdelens_plugins.analyzers.branched_target.results import SavingResults
from sdelens_plugins.analyzers.branched_target.training_sets import (
    SIZES,
    branched_documents,
    fit_training_sets,
)
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.common.next_token_analyzer import sampler_note

MIN_DOCUMENTS = 16
"""The least number of training documents."""


@dataclass(frozen=True)
class BranchedTargetAnalyzer:
    """The saving in training documents from sampling `branches` next tokens after each prefix.

    `probe` is fitted, with its default settings, to an eighth, a quarter, a half and all of the
    training documents, and to branches of an eighth and of a quarter, at prefixes that end at
    every `apart`-th position. Losses are those of the first `documents` test documents, at every
    `every`-th position. `memory` bounds the MiB of states in memory.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = REAL
    cost: ClassVar[str] = "minutes"
    quick: ClassVar[dict[str, Any]] = {"documents": 64, "every": 2}

    probe: str = "linear"
    branches: int = 8
    apart: int = 1
    documents: int = 256
    every: int = 1
    memory: int = 256

    def __post_init__(self) -> None:
        # both validate the settings before any work
        self._branch_sampler(Sampler(), self.branches, self.apart)
        self._branch_sampler(Sampler(), 2, self.every)
        require_at_least(self, documents=1)
        if load("probe", self.probe).looks_back:
            raise UsageError(
                f"branches are single transitions, but {self.probe} uses earlier states"
            )

    def _branch_sampler(self, sampler: Sampler, branches: int, every: int) -> BranchSampler:
        choice = TokenChoice(branches)
        return BranchSampler(sampler, choice, every=every, memory=self.memory, held=branches)

    def analyze(self, study: Study, *, seed: int) -> Finding:
        held = HeldOutPrefixes.of(study, documents=self.documents)
        view, viewed = study.single
        sampler = study.sampler or Sampler()
        train = sorted(began(viewed.train))
        if len(train) < MIN_DOCUMENTS:
            raise UsageError(
                f"at least {MIN_DOCUMENTS} training documents are needed, so that an eighth of "
                f"them is enough for a fit, got {len(train)}: fit to more texts"
            )
        transitions = self._transitions(study, held.model, train, seed)
        probe = build(load("probe", self.probe), {}, self.probe)
        laws = fit_training_sets(
            viewed.fitted,
            probe,
            viewed.train,
            viewed.validation,
            transitions.recording.view(view),
            train,
            apart=self.apart,
            seed=derive(seed, "learned"),
        )
        measured = next_state_laws(
            held.model,
            {view.site: viewed.fitted},
            self._branch_sampler(sampler, 2, self.every),
            held.prefixes,
            held.cell,
            kept=0,
            rivals={view.site: {str(each): law for each, law in laws.items()}},
            directions=False,
            seed=derive(seed, "held out"),
        )
        if study.sampler is not None:
            measured.sampler_check.require(study.sampler)
        ones = torch.ones_like(measured.words[:1])
        count = measured.by(ones, held.cells, held.prefixes.units).sum(1)[0]
        results = SavingResults(
            view,
            self.probe,
            self.branches,
            {part: len(train) // part for part in SIZES},
            transitions,
            measured.sites[view.site],
            count,
            Bootstrap.of(count, seed=seed),
            apart=self.apart,
            own=study.sampler is not None,
            seed=derive(seed, "savings"),
        )
        return Finding(
            view=str(view),
            headline=results.headline(),
            reading=results.reading + sampler_note(study.sampler, measured.sampler_check),
            estimates=results.estimates(),
            arrays=results.arrays(),
            figures=(learning_curves(results),),
        )

    def _transitions(
        self, study: Study, model: LanguageModel, train: Sequence[int], seed: int
    ) -> BranchedTransitions:
        """Branched transitions of the documents of all branched training sets."""
        view, viewed = study.single
        origin = viewed.fitted.origin
        if origin is None:
            raise UsageError("branches need the language model of the run, which is not loaded")
        return branched_transitions(
            model,
            study.documents,
            branched_documents(train),
            [view.site],
            self._branch_sampler(study.sampler or Sampler(), self.branches, self.apart),
            origin,
            own=study.sampler is not None,
            seed=derive(seed, "branched"),
        )
