"""What kind of process the evidence allows to speak of, property by property."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from sdelens.evidence.effects import SIZE
from sdelens.evidence.evidence import gather
from sdelens.evidence.process_class import EMBEDDABLE, GAIN, MEMORY, MIXTURE, Evidence, classify
from sdelens.fitting.study import Study
from sdelens.report import Estimate, Figure, Finding, Layer, Panel

LEAST, MOST = -2.0, 8.0
"""Effects are drawn in multiples of their threshold, and no further out than this."""
READING = (
    "The class is that of the first rule that applies: no better than baseline, unless the fit "
    f"gains more than {GAIN:g} nats per dimension over the best of random walk (with and without "
    "drift) and i.i.d. states per position; non-Markov, if two earlier states add more than "
    f"{MEMORY:g} to the mean or to the scale of its residuals; jump, if their tails thin out "
    "with the sampling interval as jumps' do, which is asked of continuous time only; discrete, "
    f"non-Gaussian Markov, if a mixture adds more than {MIXTURE:g} to Gaussian noise; "
    "compatible with a diffusion, if the one-step law is embeddable in a linear SDE in "
    f"{EMBEDDABLE:.0%} of bootstrap replicates over documents and paths simulated from the fit "
    "have the data's lagged moments; discrete Gaussian Markov, if it is not embeddable; and "
    "cannot tell where an interval holds its threshold. All intervals together miss a truth in "
    f"at most {SIZE:.0%} of cases, and documents are their sample. The minimum detectable effect "
    "is the true size that would be shown four times out of five: what is smaller may be "
    "there. Where there are few transitions for many dimensions, what it costs to estimate memory "
    "is part of it, and memory cannot be ruled out. Memory is asked of regressions, cubic in the "
    "current state and linear in earlier "
    "ones: no memory of that kind does not rule out another. Compatible does not mean is: other "
    "processes have the same moments at these lags. A jump process observed at one interval "
    "and a chain with heavy tails are the same thing."
)


@dataclass(frozen=True)
class VerdictAnalyzer:
    """Every property with its effect, interval and minimum detectable effect; then a class."""

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    scope: ClassVar[str] = "view"

    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        evidence = gather(viewed, study.documents, seed=seed)
        said = classify(evidence)
        effects = evidence.effects
        return Finding(
            analyzer="verdict",
            view=str(view),
            headline=f"{said.kind[0].upper()}{said.kind[1:]}: {said.because}.",
            reading=READING,
            estimates=estimates(evidence),
            arrays={
                name: torch.tensor([getattr(e, name) for e in effects], dtype=torch.float64)
                for name in ("value", "stderr", "low", "high", "threshold", "detectable")
            },
            figures=(figure(evidence),),
        )


def estimates(evidence: Evidence) -> tuple[Estimate, ...]:
    """Each property, with all that is known of it in words beside its unit."""
    rows = [
        Estimate(
            effect.name,
            effect.value,
            effect.stderr,
            f"{effect.unit}, interval {effect.interval}, threshold {effect.threshold:g}, "
            f"detectable from {effect.detectable:.3f}",
        )
        for effect in evidence.effects
    ]
    share = Estimate(
        "embeddable in a linear SDE",
        evidence.embeddable,
        unit=f"(share of bootstrap replicates over documents), threshold {EMBEDDABLE:g}",
    )
    documents = Estimate("held-out documents", float(evidence.gain.groups), unit="the sample size")
    return (*rows, share, documents)


def labels(evidence: Evidence) -> tuple[str, ...]:
    """A short word for each effect."""
    jumps = ("jumps",) if evidence.jump is not None else ()
    lags = ("lags",) if evidence.lagged else ()
    return ("gain", "mean", "scale", *jumps, "mixture", *lags)


def figure(evidence: Evidence) -> Figure:
    """Intervals in multiples of the thresholds."""
    effects = evidence.effects
    multiples = {
        name: torch.tensor([getattr(e, name) / e.threshold for e in effects]).clamp(LEAST, MOST)
        for name in ("value", "low", "high", "detectable")
    }
    x = torch.arange(len(effects), dtype=torch.float64)
    bars = {"x": x, "y": multiples["value"], "low": multiples["low"], "high": multiples["high"]}
    ends = torch.tensor([-0.5, len(effects) - 0.5])
    layers = (
        Layer("bars", bars, "effect", words=labels(evidence)),
        Layer("line", {"x": ends, "y": torch.ones(2)}, "threshold", series=1, dashed=True),
        Layer("scatter", {"x": x, "y": multiples["detectable"]}, "minimum detectable", series=2),
    )
    caption = (
        "Each property in multiples of the size from which on it matters, with its simultaneous "
        "interval: gain over the best baseline; memory of the mean and of the scale; jumps, where "
        "they can be asked for; what a mixture adds; and of the lagged moments the one that may "
        f"be furthest off. What lies beyond {LEAST:g} or {MOST:g} is drawn there."
    )
    return Figure("effects", (Panel("", "multiples of the threshold", layers),), caption)
