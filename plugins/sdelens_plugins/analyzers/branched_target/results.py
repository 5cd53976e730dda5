"""What learning from branches saves, in words, numbers and curves."""

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
from sdelens.report import Estimate, Figure, Layer, Panel
from sdelens.states.recording import View
from sdelens_plugins.analyzers.branched_target.sample_saving import (
    BRANCHED,
    SIZES,
    Curves,
    expected,
    savings,
    training_sets,
)
from sdelens_plugins.analyzers.common.intervals import estimate, with_interval

LABELS = {"squares": "squared error of the mean", "nats": "cross-entropy"}
UNITS = {"squares": "training variances per dimension", "nats": "nats per dimension"}
OWN = {"squares": "squares", "nats": "branched"}
FOREIGN = {"squares": "occurred_squares", "nats": "occurred"}
"""Which losses, by whether the texts are the model's own."""


@dataclass(frozen=True, eq=False)
class SavingResults:
    """Of one layer and one probe."""

    view: View
    probe: str
    branches: int
    documents: Mapping[int, int]
    """Training documents by the part that they are."""
    steps: BranchedTransitions
    law: NextStateLaw
    count: Float[Tensor, " unit"]
    bootstrap: Bootstrap
    apart: int
    """Of so many positions one is a prefix that is learned from."""
    own: bool
    """Whether the model wrote the texts."""
    seed: int

    @property
    def nats(self) -> CrossEntropy:
        """The losses of every fit."""
        assert self.law.nats is not None  # two branches are always held
        return self.law.nats

    @cached_property
    def found(self) -> dict[str, tuple[Curves, Interval]]:
        """Curves and savings by loss."""
        names = list(self.nats.laws)
        rows = {one: names.index(str(one)) for one in training_sets()}
        return {
            loss: savings(
                {one: getattr(self.nats, name)[row] for one, row in rows.items()},
                self.count,
                self.bootstrap,
                seed=self.seed,
            )
            for loss, name in (OWN if self.own else FOREIGN).items()
        }

    @cached_property
    def parts(self) -> tuple[float, float]:
        """The sampler's noise, and what the plain fit to all documents does not reach."""
        sampler = float(self.law.noise.sampler.mean())
        total = float(self.found["squares"][0].plain[-1])
        return sampler, total - sampler

    @property
    def theory(self) -> float:
        """The saving that is to be expected of so many branches."""
        return expected(*self.parts, self.branches)

    @property
    def ceiling(self) -> float:
        """That of infinitely many."""
        return expected(*self.parts, math.inf)

    @property
    def cost(self) -> float:
        """Tokens through the model for each branched transition, over those for a plain one."""
        return (self.apart + self.branches) / self.apart

    def headline(self) -> str:
        """What is saved at the larger size, and whether that is worth its tokens."""
        saving = self.found["squares"][1][-1]
        if not saving.value.isfinite():
            return (
                f"What {self.branches} branches save of a {self.probe} fit is not known: its "
                "loss does not fall with more documents as an excess error does."
            )
        said = (
            f"With {self.branches} next states drawn after each prefix, a {self.probe} fit to "
            f"{self.documents[BRANCHED[-1]]} documents foretells as well as one to "
            f"{with_interval(saving, 2)} times as many plain ones"
        )
        if self.own:
            said += f" (1: nothing is saved; {self.ceiling:.2f} at most by theory)"
        if float(saving.high) < self.cost:
            return (
                f"{said}. A branched one takes {self.cost:g} times the tokens through the model: "
                "where texts can be sampled, plain sampling wins."
            )
        if float(saving.low) > self.cost:
            return f"{said}, and it takes {self.cost:g} times the tokens: branches win."
        return (
            f"{said}; it takes {self.cost:g} times the tokens, and which of the two wins is not "
            "shown."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        """Savings by loss and size, beside theory; then what they cost."""
        found = []
        for loss, label in LABELS.items():
            for number, part in enumerate(BRANCHED):
                saving = self.found[loss][1][number]
                name = f"saving, {label}, {self.documents[part]} documents"
                found.append(estimate(name, saving, "times as many plain transitions"))
                each = float(saving.value) / self.cost
                what = f"{name}, for each token through the model"
                found.append(Estimate(what, each, unit="(1: as a plain one)"))
        found.append(Estimate("next tokens fed to learn from", float(self.steps.tokens)))
        return (*found, *(self._theory() if self.own else ()))

    def _theory(self) -> tuple[Estimate, ...]:
        (sampler, rest), unit = self.parts, UNITS["squares"]
        share = float(self.found["squares"][1].value[-1]) / self.ceiling
        return (
            Estimate(
                "share of the ceiling", share, unit=f"({1 / self.ceiling:.2f}: nothing saved)"
            ),
            Estimate(f"saving by theory, {self.branches} branches", self.theory, unit="times"),
            Estimate("ceiling, 1 + sampler / not reached", self.ceiling, unit="times"),
            Estimate("sampler", sampler, unit=unit),
            Estimate("not reached by the plain fit to all documents", rest, unit=unit),
        )

    def arrays(self) -> dict[str, Tensor]:
        """By loss: curves by size, and savings."""
        named = {"documents": torch.tensor([self.documents[part] for part in SIZES])}
        for loss, (curves, saving) in self.found.items():
            named |= {f"{loss}.plain": curves.plain, f"{loss}.branched": curves.branched}
            named |= prefixed(**{f"{loss}.saving": saving.tensors()})
        return named

    def figures(self) -> tuple[Figure, ...]:
        """Learning curves."""
        panels = tuple(
            Panel(
                "training documents",
                UNITS[loss],
                (
                    self._line("steps that occurred", SIZES, self.found[loss][0].plain, 0),
                    self._line(
                        f"{self.branches} branches", BRANCHED, self.found[loss][0].branched, 1
                    ),
                ),
                label.capitalize(),
            )
            for loss, label in LABELS.items()
        )
        caption = (
            f"Held-out losses of a {self.probe} fit at {self.view} by how many documents it "
            "learns from: the steps that occurred in them, or steps to next states that the "
            "model draws. Read to the right from a branched point to the plain curve: the saving."
        )
        return (Figure("curves", panels, caption),)

    def _line(
        self, label: str, parts: tuple[int, ...], loss: Float[Tensor, " size"], series: int
    ) -> Layer:
        x = torch.tensor([float(self.documents[part]) for part in parts]).double()
        return Layer("line", {"x": x, "y": loss}, label, series, dashed=series > 0)
