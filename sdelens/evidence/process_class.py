"""What kind of process the evidence allows to speak of: the first rule that applies."""

from collections.abc import Iterable
from dataclasses import dataclass

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
"""In the order in which they are tried."""

GAIN = 0.01
"""Nats per dimension by which a fit must beat the best baseline."""
MEMORY = 0.005
"""Nats per dimension that lagged states may add to a process that counts as Markov."""
TAILS = 0.1
"""By how much M4 / 3 M2^2 may exceed what a diffusion of the same longer intervals has."""
MIXTURE = 0.005
"""Nats per dimension that a mixture may add to noise that counts as Gaussian."""
LAGGED = 0.15
"""How far lagged moments may lie from the simulated ones, in units of the variance."""
EMBEDDABLE = 0.95
"""The share of bootstrap replicates whose one-step law must be that of a linear SDE."""


@dataclass(frozen=True)
class Evidence:
    """What is known of a fit; None or nothing where the data do not allow the question."""

    gain: Effect
    """Over the best baseline that is not of the fit's own family."""
    memory: tuple[Effect, ...]
    """What lagged states add to the mean, and to the scale."""
    mixture: Effect
    """What a mixture adds to Gaussian noise."""
    embeddable: float
    """The share of bootstrap replicates whose one-step law is a linear SDE's."""
    lagged: tuple[Effect, ...] = ()
    """Lagged moments of the data less simulated ones, in absolute value."""
    jump: Effect | None = None
    """How much faster than a diffusion's the tails thin out with the interval."""

    @property
    def effects(self) -> tuple[Effect, ...]:
        """One for each property; of the lagged moments that of the highest upper end."""
        jump = () if self.jump is None else (self.jump,)
        worst = [max(self.lagged, key=lambda effect: effect.high)] if self.lagged else []
        return (self.gain, *self.memory, *jump, self.mixture, *worst)


@dataclass(frozen=True)
class ProcessVerdict:
    """A class, and the reason in one clause."""

    kind: str
    because: str


def classify(evidence: Evidence) -> ProcessVerdict:
    """The first rule that applies; an effect counts by its whole interval.

    A class whose name says Markov or Gaussian needs the contrary to be absent, not only not shown:
    where an interval holds its threshold, nothing is told.
    """
    gain, jump, mixture = evidence.gain, evidence.jump, evidence.mixture
    if not gain.shown:
        return ProcessVerdict(NO_BETTER, f"{gain} is not above {GAIN:g} beyond doubt")
    for effect in _shown(evidence.memory):
        return ProcessVerdict(NON_MARKOV, f"{effect} is above {MEMORY:g}")
    if jump is not None and jump.shown:
        return ProcessVerdict(JUMP, f"{jump} is above {TAILS:g}: they thin out with the interval")
    for effect in _open(evidence.memory):
        return ProcessVerdict(CANNOT_TELL, f"{effect} may be above {MEMORY:g} or below")
    if mixture.shown:
        return ProcessVerdict(DISCRETE_NON_GAUSSIAN, f"{mixture} is above {MIXTURE:g}")
    for effect in _open([mixture] if jump is None else [mixture, jump]):
        return ProcessVerdict(CANNOT_TELL, f"{effect} may be above {effect.threshold:g} or below")
    return _gaussian(evidence)


def _gaussian(evidence: Evidence) -> ProcessVerdict:
    """The class of a Markov process of Gaussian noise."""
    if not evidence.lagged:
        return ProcessVerdict(CANNOT_TELL, "the paths are too short for lagged moments")
    for effect in _shown(evidence.lagged):
        return ProcessVerdict(CANNOT_TELL, f"the fit does not last over many steps: {effect}")
    for effect in _open(evidence.lagged):
        return ProcessVerdict(
            CANNOT_TELL, f"whether the fit lasts over many steps is open: {effect}"
        )
    share = f"{evidence.embeddable:.0%} of bootstrap replicates are embeddable in a linear SDE"
    if evidence.embeddable >= EMBEDDABLE:
        return ProcessVerdict(COMPATIBLE, f"{share}, and lagged moments are as simulated")
    return ProcessVerdict(DISCRETE_GAUSSIAN, f"only {share}")


def _shown(effects: Iterable[Effect]) -> list[Effect]:
    """Those above their threshold, the surest first."""
    return sorted((e for e in effects if e.shown), key=lambda e: -e.low)


def _open(effects: Iterable[Effect]) -> list[Effect]:
    """Those not known to be below their threshold, the largest possible first."""
    return sorted((e for e in effects if not e.absent), key=lambda e: -e.high)
