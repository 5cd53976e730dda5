"""The class of process that is compatible with the evidence, property by property."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from sdelens.evidence.effects import SIZE
from sdelens.evidence.evidence import Sample, gather
from sdelens.evidence.process_class import EMBEDDABLE, MEMORY, MIXTURE, Evidence, classify
from sdelens.fitting.study import Study
from sdelens.report import Estimate, Figure, Finding, Layer, Panel

AXIS = -2.0, 8.0
"""The range of the figure, in multiples of the thresholds; values beyond it are clipped."""
READING = (
    "The class is that of the first rule that applies: no better than baseline, unless the fit "
    "gains nats per dimension over the best of random walk (with and without "
    "drift) and i.i.d. states per position; non-Markov, if two earlier states add more than "
    f"{MEMORY:g} to the mean or to the scale of its residuals; jump, if the tails of the "
    "residuals shrink with the sampling interval as those of jumps do, which is tested in "
    "continuous time only; discrete, non-Gaussian Markov, if a mixture adds more than "
    f"{MIXTURE:g} to Gaussian noise; compatible with a diffusion, if the one-step law is "
    f"embeddable in a linear SDE in {EMBEDDABLE:.0%} of bootstrap replicates over documents and "
    "paths simulated from the fit have the data's lagged moments; discrete Gaussian Markov, if it "
    "is not embeddable; and cannot tell if an interval contains its threshold. All intervals hold "
    f"simultaneously with an error of at most {SIZE:.0%}, over documents. The minimum detectable "
    "effect is the true size that would be detected with a power of 80%; smaller effects may "
    "exist. With few transitions for many dimensions it includes the cost of estimating memory, "
    "and memory cannot be ruled out. Memory is tested by regressions that are cubic in the "
    "current state and linear in earlier ones; other kinds of memory are not excluded. Compatible "
    "does not mean that the process is a diffusion: other processes have the same moments at "
    "these lags. A jump process observed at one interval and a chain with heavy tails cannot be "
    "distinguished."
)


@dataclass(frozen=True)
class VerdictAnalyzer:
    """Each property with effect, interval and minimum detectable effect, and the class."""

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"

    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        fitted = viewed.fitted
        sides = map(fitted.encoded, (viewed.train, viewed.validation, viewed.test))
        sample = Sample(*sides, groups=study.documents.group)
        evidence = gather(
            fitted.sde, fitted.record.scores, sample, probe=fitted.record.probe, seed=seed
        )
        verdict = classify(evidence)
        process_class = verdict.kind[0].upper() + verdict.kind[1:]
        effects = evidence.effects
        return Finding(
            view=str(view),
            headline=f"{process_class}: {verdict.because}.",
            reading=READING,
            estimates=estimates(evidence),
            arrays={
                name: torch.tensor([getattr(e, name) for e in effects], dtype=torch.float64)
                for name in ("value", "stderr", "low", "high", "threshold", "detectable")
            },
            figures=(figure(evidence),),
            process_class=process_class,
        )


def estimates(evidence: Evidence) -> tuple[Estimate, ...]:
    """Each property; interval, threshold and minimum detectable effect are in the unit."""
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
    """Axis labels of the effects."""
    jumps = ("jumps",) if evidence.jump is not None else ()
    lags = ("lags",) if evidence.lagged else ()
    return ("gain", "mean", "scale", *jumps, "mixture", *lags)


def figure(evidence: Evidence) -> Figure:
    """Intervals in multiples of the thresholds."""
    effects = evidence.effects
    multiples = {
        name: torch.tensor([getattr(e, name) / e.threshold for e in effects]).clamp(*AXIS)
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
        "Each property in multiples of its threshold, with simultaneous intervals: gain over the "
        "best baseline; memory of the mean and of the scale; jumps, where they can be tested; "
        "gain of a mixture; and the lagged moment that may deviate most. Values beyond "
        f"{AXIS[0]:g} or {AXIS[1]:g} are drawn there."
    )
    return Figure("effects", (Panel("", "multiples of the threshold", layers),), caption)
