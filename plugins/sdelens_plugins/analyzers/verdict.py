"""The class of process that is compatible with the evidence, property by property."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from sdelens.evidence.effects import SIZE, Effect
from sdelens.evidence.evidence import BEYOND, Sample
from sdelens.evidence.process_class import (
    CANNOT_TELL,
    COMPATIBLE,
    DISCRETE_GAUSSIAN,
    EMBEDDABLE,
    FRACTION,
    HETEROGENEOUS,
    JUMP,
    MEMORY,
    MISSED,
    MIXTURE,
    NO_BETTER,
    NON_MARKOV,
    PART,
    SHOWN,
    TIME_DEPENDENT,
    Evidence,
)
from sdelens.evidence.statements import Verdict
from sdelens.fitting.study import Study
from sdelens.paths.standard_metric import standard_weights
from sdelens.report import Estimate, Figure, Finding, Layer, Panel
from sdelens.summary import KIND, Check, Summary

READING = (
    "The first rule that applies gives the class. Non-Markov: earlier states add at "
    f"least {SHOWN:g} nats per dimension to the prediction of the noise scale, or to that of "
    f"the mean ({FRACTION:.0%} of what the drift gains over a random walk, if that is less), "
    f"more than {MISSED:.0%} of the lack of fit, "
    "and more than lasting differences between paths can explain. Heterogeneous paths: some "
    "paths have a different level, slope or noise. Changes along the path: the time adds as "
    "much as memory would. Jump, in continuous time only: the tails of the increments shrink "
    "with the sampling interval as those of jumps do. "
    "No better than baseline: the fit does not gain over the best of random "
    "walk (with and without drift) and i.i.d. states per position. Cannot tell: earlier states, "
    f"time or path may add more than {MEMORY:g} nats, or {PART:.0%} of the drift's gain. "
    f"Discrete, non-Gaussian Markov: a mixture adds more than {MIXTURE:g} to Gaussian noise. "
    "Discrete Gaussian Markov: the mean folds or reflects the states, or fewer than "
    f"{EMBEDDABLE:.0%} of bootstrap replicates are embeddable in a linear SDE. Compatible with "
    "a diffusion: none of these, and paths simulated from the fit have the data's lagged "
    f"moments. All intervals hold simultaneously with an error of at most {SIZE:.0%}, over "
    "documents. Mean and scale are predicted from the current state by polynomials and random "
    "Fourier features, from the time by cosines, and from the past by two earlier states and "
    "a moving average; memory of another kind is not excluded. Compatible does not mean that "
    "the process is a diffusion: other processes have the same moments at these lags. A jump "
    "process observed at one interval and a chain with heavy tails cannot be distinguished."
)

LABELS = {
    "lack of fit of the mean": "fit",
    "change of the mean along the path": "time: mean",
    "change of the scale along the path": "time: scale",
    "memory of the mean": "memory: mean",
    "memory of the scale": "memory: scale",
    "differences of level between paths": "paths: level",
    "differences of slope between paths": "paths: slope",
    "differences of noise between paths": "paths: noise",
    "tails beyond a diffusion's": "jumps",
    "weight of the tails": "tails",
    "mixture over Gaussian": "mixture",
    "states at which the mean reverses orientation": "orientation",
}
"""Axis labels of the effects; others are lagged moments."""

DIFFUSION = "a diffusion"
PLAIN = {
    NO_BETTER: "no better than a law that ignores the state",
    NON_MARKOV: "earlier states matter too",
    HETEROGENEOUS: "paths follow different laws",
    TIME_DEPENDENT: "the law changes along the path",
    JUMP: "it jumps",
    DISCRETE_GAUSSIAN: "its steps are of a kind that no diffusion makes",
}
"""The classes in words for the first screen."""


@dataclass(frozen=True)
class VerdictAnalyzer:
    """Each property with effect, interval and minimum detectable effect, and the class."""

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = KIND
    cost: ClassVar[str] = "a minute"

    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        fitted = viewed.fitted
        train, validation, test = map(
            fitted.encoded, (viewed.train, viewed.validation, viewed.test)
        )
        weights = standard_weights(fitted.basis)
        sample = Sample(train, validation, test, study.documents.group, weights)
        verdict = Verdict.of(fitted.sde, fitted.record.scores, sample, seed=seed)
        headline, *details = verdict.sentences
        effects = verdict.evidence.effects
        return Finding(
            view=str(view),
            headline=headline,
            details=tuple(details),
            reading=READING,
            estimates=estimates(verdict.evidence),
            arrays={
                name: torch.tensor([getattr(e, name) for e in effects], dtype=torch.float64)
                for name in ("value", "stderr", "low", "high", "threshold", "bound", "detectable")
            },
            figures=(figure(verdict.evidence),),
            process_class=verdict.process_class[0].upper() + verdict.process_class[1:],
            summary=summary(verdict.process_class),
        )


def summary(process_class: str) -> Summary:
    """The class in a few words, and whether it is a diffusion."""
    if process_class == COMPATIBLE:
        sentence, check = "Compatible with a diffusion.", Check(DIFFUSION, "yes", "compatible")
    elif process_class == CANNOT_TELL:
        sentence, check = (
            "Not shown to be a diffusion.",
            Check(DIFFUSION, "unclear", "cannot tell"),
        )
    else:
        sentence = f"Not a diffusion: {PLAIN.get(process_class, process_class)}."
        check = Check(DIFFUSION, "no", process_class)
    return Summary(sentence, (check,))


def estimates(evidence: Evidence) -> tuple[Estimate, ...]:
    """Each property; interval, threshold and minimum detectable effect are in the unit."""
    rows = [
        Estimate(effect.name, effect.value, effect.stderr, f"{effect.unit}{_limits(effect)}")
        for effect in evidence.effects
    ]
    share = Estimate(
        "embeddable in a linear SDE",
        evidence.embeddable,
        unit=f"(share of bootstrap replicates over documents), threshold {EMBEDDABLE:g}",
    )
    documents = Estimate("held-out documents", float(evidence.gain.groups), unit="the sample size")
    return (*rows, share, documents)


def _limits(effect: Effect) -> str:
    """Interval, threshold and minimum detectable effect; from too few documents there are none."""
    if not math.isfinite(effect.detectable):
        return ""
    return (
        f", interval {effect.interval}, threshold {effect.threshold:.2g}, "
        f"detectable from {effect.detectable:.2g}"
    )


def figure(evidence: Evidence) -> Figure:
    """Intervals in multiples of the thresholds, above which effects are shown."""
    effects = [effect for effect in evidence.effects if effect.threshold > 0]
    multiples = {
        name: torch.tensor([getattr(e, name) / e.threshold for e in effects])
        for name in ("value", "low", "high", "detectable")
    }
    x = torch.arange(len(effects), dtype=torch.float64)
    bars = {"x": x, "y": multiples["value"], "low": multiples["low"], "high": multiples["high"]}
    ends = torch.tensor([-0.5, len(effects) - 0.5])
    layers = (
        Layer(
            "bars",
            bars,
            "effect",
            words=tuple(
                LABELS.get(effect.name.removesuffix(BEYOND), "lags") for effect in effects
            ),
        ),
        Layer("line", {"x": ends, "y": torch.ones(2)}, "threshold", series=1, dashed=True),
        Layer("scatter", {"x": x, "y": multiples["detectable"]}, "minimum detectable", series=2),
    )
    caption = (
        "Each property in multiples of its threshold, with simultaneous intervals: an effect is "
        "shown if its interval lies above the dashed line. Lack of fit of the mean; change "
        "along the path and memory, of mean and scale; lasting differences between paths; "
        "jumps, where they can be tested; tails; gain of a mixture; reversed orientation; and "
        "the lagged moment that may deviate most. The scale is logarithmic beyond the threshold."
    )
    panel = Panel("", "multiples of the threshold", layers, y_scale="symlog")
    return Figure("effects", (panel,), caption)
