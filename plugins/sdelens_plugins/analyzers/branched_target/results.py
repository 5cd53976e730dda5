"""Headline, reading, estimates and arrays of the savings from branched transitions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.branching.branched_transitions import BranchedTransitions
from sdelens.branching.cross_entropy import CrossEntropy
from sdelens.branching.next_state_law import NextStateLaw
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.interval import Interval
from sdelens.laws.law import prefixed
from sdelens.report import Estimate
from sdelens.states.recording import View
from sdelens_plugins.analyzers.branched_target.sample_saving import (
    FARTHEST,
    LearningCurves,
    expected_saving,
    largest,
    savings,
)
from sdelens_plugins.analyzers.branched_target.training_sets import (
    BRANCHED,
    SIZES,
    training_sets,
)
from sdelens_plugins.analyzers.common.intervals import estimate, with_interval

LABELS = {"squares": "squared error of the mean", "nats": "cross-entropy"}
UNITS = {"squares": "training variances per dimension", "nats": "nats per dimension"}
OWN_LOSSES = {"squares": "squares", "nats": "branched"}
OTHER_LOSSES = {"squares": "occurred_squares", "nats": "occurred"}
"""The losses of the model's own texts and of other texts."""
READING = (
    "A probe is fitted to parts of the training documents, once to the transitions that occurred "
    "and once to transitions to B next states sampled after each prefix. The saving is the ratio "
    "of occurred to branched transitions at equal loss, read off the curve of plain fits (linear "
    "in one over the number of documents; an extrapolation beyond all documents, read up to "
    f"{FARTHEST} times as many). A branched "
    "transition costs B tokens through the model in addition to those of its prefix. Branches pay "
    "only if prefixes are expensive (long prompts, a slow model) or few. Errors are over held-out "
    "documents and over quarters of the training documents, whose sets of all sizes are "
    "resampled together, because larger sets contain smaller ones. Four quarters give a rough "
    "error, and the single set of all documents adds none. "
)
OWN_READING = (
    "Losses are those of held-out prefixes under the model's own next states. By theory the "
    "saving in the squared error of a mean is (S + R) / (S / B + R), with S the sampling noise "
    "and R the model's own motion that the fit does not explain, and 1 + S / R at most, with "
    "infinitely many branches. The theory assumes that the unexplained part is independent "
    "between prefixes. If it persists within a text, it averages out more slowly than sampling "
    "noise, and branches save less. "
)
OTHER_READING = (
    "The texts are not the model's own, and the losses are those of the states that occurred in "
    "them. The model's own next states follow another law, so there is no ceiling by theory and a "
    "saving may be below 1. "
)


@dataclass(frozen=True, eq=False)
class SavingResults:
    """The savings of one probe at one layer."""

    view: View
    probe: str
    branches: int
    documents: Mapping[int, int]
    """The number of training documents of each part."""
    steps: BranchedTransitions
    law: NextStateLaw
    count: Float[Tensor, " unit"]
    bootstrap: Bootstrap
    apart: int
    """Every `apart`-th position is the end of a training prefix."""
    own: bool
    """Whether the model wrote the texts."""
    seed: int

    @property
    def nats(self) -> CrossEntropy:
        """The losses of every fit."""
        assert self.law.nats is not None  # two branches are always held
        return self.law.nats

    @cached_property
    def savings(self) -> dict[str, tuple[LearningCurves, Interval]]:
        """Learning curves and savings by loss."""
        names = list(self.nats.laws)
        rows = {each: names.index(str(each)) for each in training_sets()}
        return {
            loss: savings(
                {each: getattr(self.nats, name)[row] for each, row in rows.items()},
                self.count,
                self.bootstrap,
                seed=self.seed,
            )
            for loss, name in (OWN_LOSSES if self.own else OTHER_LOSSES).items()
        }

    @cached_property
    def parts(self) -> tuple[float, float]:
        """Sampling noise, and the part that the plain fit to all documents leaves unexplained."""
        noise = float(self.law.noise.sampler.mean())
        total = float(self.savings["squares"][0].plain[-1])
        return noise, total - noise

    @property
    def theory(self) -> float:
        """The saving expected from this number of branches."""
        return expected_saving(*self.parts, self.branches)

    @property
    def ceiling(self) -> float:
        """The saving expected from infinitely many branches."""
        return expected_saving(*self.parts, math.inf)

    @property
    def cost(self) -> float:
        """Tokens through the model per branched transition, over those per plain transition."""
        return (self.apart + self.branches) / self.apart

    def headline(self) -> str:
        """The saving at the larger size, and whether it is worth its tokens."""
        saving, most = self.savings["squares"][1][-1], largest(BRANCHED[-1])
        if saving.value.isnan():
            return (
                f"The saving from branches of a {self.probe} fit is not known, because its loss "
                "does not fall with more documents."
            )
        tokens = f"{self.cost:g} times the tokens"
        if float(saving.high) < self.cost:
            verdict = f"but takes {tokens}: where texts can be sampled, plain sampling is cheaper"
        elif float(saving.low) > self.cost:
            verdict = f"and takes {tokens}: branches are cheaper"
        else:
            verdict = f"and takes {tokens}: it is undecided which of the two is cheaper"
        least = "at least " if float(saving.value) >= most else ""
        end = ", the most that can be read" if float(saving.high) >= most else ""
        return (
            f"A {self.probe} fit to branched transitions predicts as well as one to "
            f"{least}{with_interval(saving, 2)} times as many plain transitions{end}, {verdict}."
        )

    @property
    def reading(self) -> str:
        """How to read the savings of these texts."""
        return READING + (OWN_READING if self.own else OTHER_READING)

    def estimates(self) -> tuple[Estimate, ...]:
        """Savings by loss and size and what they cost, then theory."""
        rows = []
        for loss, label in LABELS.items():
            for number, part in enumerate(BRANCHED):
                saving = self.savings[loss][1][number]
                name = f"saving, {label}, {self.documents[part]} documents"
                unit = f"times as many plain transitions, read up to {largest(part)}"
                rows.append(estimate(name, saving, unit))
                per_token = float(saving.value) / self.cost
                name = f"{name}, for each token through the model"
                rows.append(Estimate(name, per_token, unit="(1: as a plain one)"))
        rows.append(Estimate("next tokens fed to learn from", float(self.steps.tokens)))
        return (*rows, *(self._theory() if self.own else ()))

    def _theory(self) -> tuple[Estimate, ...]:
        (noise, unexplained), unit = self.parts, UNITS["squares"]
        share = float(self.savings["squares"][1].value[-1]) / self.ceiling
        nothing = f"({1 / self.ceiling:.2f}: nothing saved)"
        return (
            Estimate("share of the ceiling", share, unit=nothing),
            Estimate(f"saving by theory, {self.branches} branches", self.theory, unit="times"),
            Estimate("ceiling, 1 + sampling noise / unexplained", self.ceiling, unit="times"),
            Estimate("sampling noise", noise, unit=unit),
            Estimate("unexplained by the plain fit to all documents", unexplained, unit=unit),
        )

    def arrays(self) -> dict[str, Tensor]:
        """Learning curves by size, and savings, by loss."""
        arrays = {"documents": torch.tensor([self.documents[part] for part in SIZES])}
        for loss, (curves, saving) in self.savings.items():
            arrays |= {f"{loss}.plain": curves.plain, f"{loss}.branched": curves.branched}
            arrays |= prefixed(**{f"{loss}.saving": saving.tensors()})
        return arrays
