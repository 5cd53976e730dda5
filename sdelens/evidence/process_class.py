"""Classification of the process from the evidence: the first rule that applies."""

from collections.abc import Iterable
from dataclasses import dataclass

from sdelens.estimation.ratio import FEWEST
from sdelens.evidence.effects import Effect

NO_BETTER = "no better than baseline"
NON_MARKOV = "non-Markov"
JUMP = "jump"
DISCRETE_NON_GAUSSIAN = "discrete, non-Gaussian Markov"
COMPATIBLE = "compatible with a diffusion"
DISCRETE_GAUSSIAN = "discrete Gaussian Markov"
CANNOT_TELL = "cannot tell"
CLASSES = (
    NO_BETTER,
    NON_MARKOV,
    JUMP,
    DISCRETE_NON_GAUSSIAN,
    COMPATIBLE,
    DISCRETE_GAUSSIAN,
    CANNOT_TELL,
)
"""All classes, in the order of the rules."""

GAIN = 0.01
"""Minimum gain of a fit over the best baseline, in nats per dimension."""
MEMORY = 0.005
"""Maximum gain from lagged states for a Markov process, in nats per dimension."""
TAILS = 0.1
"""Maximum excess of ``M4 / 3 M2^2`` over the value expected of a diffusion."""
MIXTURE = 0.005
"""Maximum gain of a mixture for Gaussian noise, in nats per dimension."""
LAGGED = 0.15
"""Maximum difference between lagged moments of the data and the simulation, in units of the
variance."""
EMBEDDABLE = 0.95
"""Minimum share of bootstrap replicates whose one-step law is embeddable in a linear SDE."""


@dataclass(frozen=True)
class Evidence:
    """Evidence about a fit; None or empty where the data do not allow the test."""

    gain: Effect
    """Gain over the best baseline, excluding the fit's own family."""
    memory: tuple[Effect, ...]
    """Gains from lagged states, for the mean and for the scale."""
    mixture: Effect
    """Gain of a mixture over Gaussian noise."""
    embeddable: float
    """Share of bootstrap replicates whose one-step law is embeddable in a linear SDE."""
    lagged: tuple[Effect, ...] = ()
    """Absolute differences between the lagged moments of the data and of simulations."""
    jump: Effect | None = None
    """How much faster the tails decay with the interval than those of a diffusion."""

    @property
    def effects(self) -> tuple[Effect, ...]:
        """One effect per property; for lagged moments, the one with the highest upper end."""
        jump = () if self.jump is None else (self.jump,)
        worst = [max(self.lagged, key=lambda effect: effect.high)] if self.lagged else []
        return (self.gain, *self.memory, *jump, self.mixture, *worst)


@dataclass(frozen=True)
class ProcessVerdict:
    """Class of the process, and the reason in one clause."""

    kind: str
    because: str


def classify(evidence: Evidence) -> ProcessVerdict:
    """Classify the process by the first rule that applies.

    Rules compare whole intervals with thresholds. A class named Markov or Gaussian requires that
    memory or a mixture is absent; if an interval contains its threshold, the verdict is
    `CANNOT_TELL`.
    """
    gain, jump, mixture = evidence.gain, evidence.jump, evidence.mixture
    if gain.groups < FEWEST:
        few = f"a class needs {FEWEST} held-out documents, but there are {gain.groups}"
        return ProcessVerdict(CANNOT_TELL, few)
    if not gain.shown:
        return ProcessVerdict(NO_BETTER, f"{gain} is not clearly above {GAIN:g}")
    for effect in _shown(evidence.memory):
        return ProcessVerdict(NON_MARKOV, f"{effect} is above {MEMORY:g}")
    if jump is not None and jump.shown:
        return ProcessVerdict(JUMP, f"{jump} is above {TAILS:g}: they decay with the interval")
    for effect in _open(evidence.memory):
        return ProcessVerdict(CANNOT_TELL, f"{effect} may be above or below {MEMORY:g}")
    if mixture.shown:
        return ProcessVerdict(DISCRETE_NON_GAUSSIAN, f"{mixture} is above {MIXTURE:g}")
    for effect in _open([mixture] if jump is None else [mixture, jump]):
        return ProcessVerdict(CANNOT_TELL, f"{effect} may be above or below {effect.threshold:g}")
    return _gaussian(evidence)


def _gaussian(evidence: Evidence) -> ProcessVerdict:
    """Class of a Markov process with Gaussian noise."""
    if not evidence.lagged:
        return ProcessVerdict(CANNOT_TELL, "the paths are too short for lagged moments")
    for effect in _shown(evidence.lagged):
        return ProcessVerdict(CANNOT_TELL, f"the fit does not hold over many steps: {effect}")
    for effect in _open(evidence.lagged):
        return ProcessVerdict(
            CANNOT_TELL, f"whether the fit holds over many steps is undecided: {effect}"
        )
    share = f"{evidence.embeddable:.0%} of bootstrap replicates are embeddable in a linear SDE"
    if evidence.embeddable >= EMBEDDABLE:
        return ProcessVerdict(COMPATIBLE, f"{share}, and lagged moments match the simulation")
    return ProcessVerdict(DISCRETE_GAUSSIAN, f"only {share}")


def _shown(effects: Iterable[Effect]) -> list[Effect]:
    """Effects above their thresholds, the highest lower end first."""
    return sorted((e for e in effects if e.shown), key=lambda e: -e.low)


def _open(effects: Iterable[Effect]) -> list[Effect]:
    """Effects not clearly below their thresholds, the highest upper end first."""
    return sorted((e for e in effects if not e.absent), key=lambda e: -e.high)
