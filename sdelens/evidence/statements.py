"""What the evidence says in sentences: what is ruled out, what is not, what could not be seen."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sdelens.estimation.ratio import FEWEST
from sdelens.evidence.effects import POWER
from sdelens.evidence.evidence import Sample, gather
from sdelens.evidence.process_class import EMBEDDABLE, Evidence, ProcessVerdict, classify
from sdelens.laws.sde import SDE

Condition = Callable[[Evidence], bool]

RULED_OUT: Mapping[str, Condition] = {
    "a Markov process in this state": lambda e: bool(e.lasting_memory),
    "one Markov law for all paths": lambda e: any(effect.shown for effect in e.differences),
    "a law that is constant along the path": lambda e: any(effect.shown for effect in e.changes),
    "a diffusion, because of jumps": lambda e: e.jumps,
    "a diffusion, because the mean reverses orientation": lambda e: (
        e.orientation is not None and e.orientation.shown
    ),
    "Gaussian noise": lambda e: e.mixture.shown,
    "a linear SDE": lambda e: e.embeddable <= 1 - EMBEDDABLE,
}
"""Properties of the process, and when the evidence excludes them."""
REMARKS: Mapping[str, Condition] = {
    "The fit misses part of the mean: {misfit}.": lambda e: e.misfit.shown,
    "Simulated paths differ from the data over many steps: {worst_lag[0]}.": lambda e: any(
        effect.shown for effect in e.worst_lag
    ),
    "Memory may come from the differences between paths alone.": lambda e: (
        any(effect.shown for effect in e.memory) and not e.lasting_memory
    ),
    "Fourth moments of the noise may not exist ({tails}): the gain over baselines, an average of "
    "squared residuals, is unreliable; the other tests use bounded statistics.": lambda e: e.heavy,
    "The fit does not gain over the best baseline: {gain}.": lambda e: not e.gain.shown,
}
"""Remarks on the fit and the data, and when they apply."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """The kind of process that paths support: its class, the evidence, and both in sentences."""

    process_class: str
    evidence: Evidence
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    @classmethod
    def of(cls, sde: SDE, scores: Mapping[str, Any], sample: Sample, *, seed: int) -> "Verdict":
        """Gather the evidence about a fit with these held-out scores, and classify the process."""
        evidence = gather(sde, scores, sample, seed=seed)
        found = classify(evidence)
        return cls(found.kind, evidence, statements(found, evidence))


def statements(verdict: ProcessVerdict, evidence: Evidence) -> tuple[str, ...]:
    """The class in one line, then what the evidence rules out, leaves open and could not show."""
    class_line = f"{verdict.kind[0].upper()}{verdict.kind[1:]}: {verdict.because}."
    if evidence.documents < FEWEST:
        return (class_line,)
    excluded = [*_excluded(evidence), *_bounded(evidence)]
    unsure = [f"{effect.name} up to {effect.high:.2g}" for effect in evidence.open]
    remarks = (text for text, applies in REMARKS.items() if applies(evidence))
    remarked = vars(evidence) | {"worst_lag": evidence.worst_lag}
    lines = (
        class_line,
        f"Ruled out: {'; '.join(excluded)}." if excluded else "Nothing is ruled out.",
        f"Not ruled out: {'; '.join(unsure)}." if unsure else "",
        _undetected(evidence),
        *(text.format(**remarked) for text in remarks),
    )
    return tuple(line for line in lines if line)


def _excluded(evidence: Evidence) -> Iterator[str]:
    return (name for name, excludes in RULED_OUT.items() if excludes(evidence))


def _bounded(evidence: Evidence) -> Iterator[str]:
    """Effects that are absent, with the size above which they are excluded."""
    return (
        f"{e.name} above {e.bound:.2g}" for e in evidence.departures if e.absent and not e.shown
    )


def _undetected(evidence: Evidence) -> str:
    """The smallest effects that the sample would have shown."""
    hidden = [e for e in evidence.departures if not e.shown]
    sizes = "; ".join(f"{e.name} from {e.detectable:.2g}" for e in hidden)
    return f"This sample would have shown, with a power of {POWER:.0%}: {sizes}." if sizes else ""
