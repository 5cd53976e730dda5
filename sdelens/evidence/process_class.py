"""Classification of the process from the evidence: the first rule that applies."""

from collections.abc import Iterable
from dataclasses import dataclass

from sdelens.estimation.ratio import FEWEST
from sdelens.evidence.effects import Effect

NO_BETTER = "no better than baseline"
NON_MARKOV = "non-Markov"
HETEROGENEOUS = "heterogeneous paths"
TIME_DEPENDENT = "changes along the path"
JUMP = "jump"
DISCRETE_NON_GAUSSIAN = "discrete, non-Gaussian Markov"
COMPATIBLE = "compatible with a diffusion"
DISCRETE_GAUSSIAN = "discrete Gaussian Markov"
CANNOT_TELL = "cannot tell"
CLASSES = (
    NON_MARKOV,
    HETEROGENEOUS,
    TIME_DEPENDENT,
    JUMP,
    NO_BETTER,
    DISCRETE_NON_GAUSSIAN,
    COMPATIBLE,
    DISCRETE_GAUSSIAN,
    CANNOT_TELL,
)
"""All classes, in the order of the rules."""

SHOWN, MEMORY = 0.002, 0.005
"""Gains from lagged states or the time, in nats per dimension: above the first they count as
present, below the second (one per cent of the noise variance) as absent."""
FRACTION, PART = 0.02, 0.1
"""The same for the mean, relative to what the drift gains over a random walk, if that is less: the
more often a process is observed, the less its drift explains of each step."""
MISSED = 0.1
"""Share of the lack of fit that a flexible function of the state may miss too: a smaller effect of
the past, the time or the path is not shown, because the state may explain it."""
UNNOTICED = 0.05, 0.5
"""Differences between paths that must be ruled out: in nats per dimension, and relative to the
gain of the drift if that is less."""
TAILS = 0.25
"""Maximum excess of ``M4 / 3 M2^2`` over the value expected of a diffusion."""
HEAVY = 1 / 4
r""":math:`1/\alpha` of the tails above which fourth moments do not exist."""
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
    misfit: Effect
    """Gain of a flexible mean of the current state over that of the fit."""
    changes: tuple[Effect, ...]
    """Gains from the time, for the mean and for the scale."""
    memory: tuple[Effect, ...]
    """Gains from lagged states, for the mean and for the scale."""
    differences: tuple[Effect, ...]
    """Lasting differences between paths, in level, in slope and in noise."""
    mixture: Effect
    """Gain of a mixture over Gaussian noise."""
    tails: Effect
    """Inverse of the tail index of the residuals."""
    embeddable: float
    """Share of bootstrap replicates whose one-step law is embeddable in a linear SDE."""
    orientation: Effect | None = None
    """Share of states at which the one-step mean reverses orientation."""
    lagged: tuple[Effect, ...] = ()
    """Absolute differences between the lagged moments of the data and of simulations."""
    jump: Effect | None = None
    """How much faster the tails decay with the interval than those of a diffusion."""

    @property
    def effects(self) -> tuple[Effect, ...]:
        """One effect per property; for lagged moments, the one with the highest upper end."""
        some = (self.jump, self.tails, self.mixture, self.orientation)
        shape = [effect for effect in some if effect is not None]
        always = (self.gain, self.misfit, *self.changes, *self.memory, *self.differences)
        return (*always, *shape, *self.worst_lag)

    @property
    def worst_lag(self) -> tuple[Effect, ...]:
        """The lagged moment with the highest upper end, if there are any."""
        return tuple(sorted(self.lagged, key=lambda effect: effect.high)[-1:])

    @property
    def documents(self) -> int:
        """Number of held-out documents, or groups of them."""
        return min(self.gain.groups, self.misfit.groups)

    @property
    def departures(self) -> tuple[Effect, ...]:
        """Effects that a homogeneous Markov process with Gaussian noise does not have."""
        jump = () if self.jump is None else (self.jump,)
        return (*self.memory, *self.changes, *self.differences, *jump, self.mixture)

    @property
    def open(self) -> tuple[Effect, ...]:
        """Departures, and the worst lagged moment, that are neither shown nor absent."""
        every = (*self.departures, *self.worst_lag)
        return tuple(e for e in every if not e.shown and not e.absent)

    @property
    def heavy(self) -> bool:
        """Whether the tails may be too heavy for fourth moments."""
        return self.tails.shown

    @property
    def jumps(self) -> bool:
        """Whether the noise has jumps; tested in continuous time only."""
        return self.jump is not None and self.jump.shown

    @property
    def lasting_memory(self) -> tuple[Effect, ...]:
        """Shown memory that is more than the differences between paths can explain.

        Given its path a process may be Markov; its past is then informative only about the path,
        so it gains no more than knowing the path does (the data-processing inequality).
        """
        known = sum(max(effect.high, 0.0) for effect in self.differences if effect.shown)
        return tuple(e for e in _shown(self.memory) if e.low > known)


@dataclass(frozen=True)
class ProcessVerdict:
    """Class of the process, and the reason in one clause."""

    kind: str
    because: str


def classify(evidence: Evidence) -> ProcessVerdict:
    """Classify the process by the first rule that applies.

    Rules compare whole intervals with thresholds. A class named Markov, Gaussian or diffusion
    requires that the alternatives are absent; if an interval contains its threshold, the verdict
    is `CANNOT_TELL`.
    """
    if evidence.documents < FEWEST:
        few = f"a class needs {FEWEST} held-out documents, but there are {evidence.documents}"
        return ProcessVerdict(CANNOT_TELL, few)
    return _departure(evidence) or _undecided(evidence) or _markov(evidence)


def _departure(evidence: Evidence) -> ProcessVerdict | None:
    """A class shown by the data whatever the fit is worth."""
    for effect in evidence.lasting_memory:
        return ProcessVerdict(NON_MARKOV, f"{effect} is above {effect.threshold:.2g}")
    for effect in _shown(evidence.differences):
        return ProcessVerdict(HETEROGENEOUS, f"{effect} is above {effect.threshold:.2g}")
    for effect in _shown(evidence.changes):
        return ProcessVerdict(TIME_DEPENDENT, f"{effect} is above {effect.threshold:.2g}")
    if evidence.jumps:
        because = f"{evidence.jump} is above {TAILS:g}: they decay with the interval"
        return ProcessVerdict(JUMP, because)
    if evidence.gain.shown or evidence.heavy:  # squares of heavy tails decide nothing
        return None
    if evidence.gain.high < MEMORY:
        return ProcessVerdict(NO_BETTER, f"{evidence.gain} is not above 0")
    return ProcessVerdict(CANNOT_TELL, f"{evidence.gain} may be above or below 0")


def _undecided(evidence: Evidence) -> ProcessVerdict | None:
    """Cannot tell whether the process is Markov with one law for all paths and times."""
    for effect in _open((*evidence.memory, *evidence.changes, *evidence.differences)):
        return ProcessVerdict(CANNOT_TELL, _may(effect))
    return None


def _markov(evidence: Evidence) -> ProcessVerdict:
    """Class of a Markov process with the same law on all paths and at all times."""
    if evidence.mixture.shown:
        because = f"{evidence.mixture} is above {MIXTURE:g}"
        return ProcessVerdict(DISCRETE_NON_GAUSSIAN, because)
    jump = [] if evidence.jump is None else [evidence.jump]
    for effect in _open([evidence.mixture, *jump]):
        return ProcessVerdict(CANNOT_TELL, _may(effect))
    if evidence.orientation is not None and evidence.orientation.shown:
        return ProcessVerdict(DISCRETE_GAUSSIAN, f"{evidence.orientation}: no diffusion does this")
    return _gaussian(evidence)


def _gaussian(evidence: Evidence) -> ProcessVerdict:
    """Class of a Markov process with Gaussian noise."""
    if not evidence.lagged:
        return ProcessVerdict(CANNOT_TELL, "the paths are too short for lagged moments")
    for effect in _shown(evidence.lagged):
        wrong = f"the fit does not hold over many steps: {effect}"
        if evidence.misfit.shown:
            wrong = f"the mean does not fit: {evidence.misfit}"
        return ProcessVerdict(CANNOT_TELL, wrong)
    for effect in _open(evidence.lagged):
        return ProcessVerdict(
            CANNOT_TELL, f"whether the fit holds over many steps is undecided: {effect}"
        )
    share = f"{evidence.embeddable:.0%} of bootstrap replicates are embeddable in a linear SDE"
    if evidence.embeddable >= EMBEDDABLE:
        return ProcessVerdict(COMPATIBLE, f"{share}, and lagged moments match the simulation")
    return ProcessVerdict(DISCRETE_GAUSSIAN, f"only {share}")


def _may(effect: Effect) -> str:
    if effect.low > effect.bound:
        return f"{effect} may be lack of fit: it is not above {effect.threshold:.2g}"
    return f"{effect} may be above or below {effect.bound:.2g}"


def _shown(effects: Iterable[Effect]) -> list[Effect]:
    """Effects above their thresholds, the highest lower end first."""
    return sorted((e for e in effects if e.shown), key=lambda e: -e.low)


def _open(effects: Iterable[Effect]) -> list[Effect]:
    """Effects not clearly below their tolerances, the highest upper end first."""
    return sorted((e for e in effects if not e.absent), key=lambda e: -e.high)
