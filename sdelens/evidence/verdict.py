"""Sentences that say what held-out scores allow to say, and no more."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdelens.evidence.student import student

LABELS = {
    "random_walk": "random walk",
    "constant": "random walk, drift",
    "iid": "i.i.d.",
    "iid_position": "i.i.d. per position",
    "token": "token",
    "linear": "linear",
    "linear_token": "linear + token",
}
MUST_BEAT = ("random_walk", "constant", "iid", "iid_position", "token", "linear")
"""Means that know no more than the state, the time or the token alone."""
NOISES = {"constant": "", "state-dependent": "_state_dependent"}
"""The columns of the scores, and how their keys end."""


@dataclass(frozen=True)
class Gain:
    """How much better the fit is than another law, with the 95% interval over documents."""

    value: float
    margin: float

    @property
    def shown(self) -> bool:
        """Whether the interval lies above zero."""
        return self.value > self.margin

    @property
    def refuted(self) -> bool:
        """Whether the interval lies below zero: the other law is better."""
        return self.value < -self.margin

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.value - self.margin:.3f}, {self.value + self.margin:.3f}]"

    @classmethod
    def of(cls, row: Mapping[str, float], key: str, groups: int) -> "Gain":
        """From the scores; from one document there is no interval, hence nothing is shown."""
        margin = student(0.975, groups) * row[f"{key}_stderr"] if groups > 1 else math.inf
        return cls(row[key], margin)


def verdict(
    scores: Mapping[str, Any], probe: str, density: str, *, clock: str = "Tokens"
) -> tuple[str, ...]:
    """The answer in three to five sentences, the plainest first.

    Laws are compared under the noise of the fit: its own column of the scores. The `clock` is
    what time counts.
    """
    suffix, groups = NOISES[scores["noise_column"]], scores["held_out_documents"]
    if groups < 2:
        return (_no_sample(groups), _what_it_is(density, clock))
    rows = {name: row for name, row in scores["baselines"].items() if name != probe}
    gains = {
        name: Gain.of(row, f"gain_of_fit{suffix}", groups)
        for name, row in rows.items()
        if f"gain_of_fit{suffix}" in row
    }
    sentences = [_headline(gains, probe, scores)]
    if "linear" in gains and suffix:
        mean = Gain.of(rows["linear"], "gain_of_fit", groups)
        sentences.append(_drift_claim(mean, scores["fit"], rows["linear"]))
    if "linear_token" in gains:
        sentences.append(_token_claim(gains["linear_token"]))
    if dropped := scores.get("dropped_prefix_in_training"):
        sentences.append(_dropped(dropped))
    return (*sentences, *scores.get("notes", ()), _what_it_is(density, clock))


def _no_sample(groups: int) -> str:
    return (
        f"Nothing is claimed: {groups or 'no'} held-out document has transitions to score, and "
        "an interval needs two."
    )


def _headline(gains: Mapping[str, Gain], probe: str, scores: Mapping[str, Any]) -> str:
    """Against every law that must be beaten; the best of them is the one of least gain."""
    documents, steps = scores["held_out_documents"], scores["transitions"]
    sample = f"{documents:,} held-out documents ({steps:,} transitions)"
    rivals = {name: gains[name] for name in MUST_BEAT if name in gains}
    noise = scores["noise_column"]
    # the one that it is beaten by most surely, or else is least surely beaten by it
    worst = min(rivals, key=lambda name: rivals[name].value + rivals[name].margin)
    doubtful = min(rivals, key=lambda name: rivals[name].value - rivals[name].margin)
    best = min(rivals, key=lambda name: rivals[name].value)
    if rivals[worst].refuted:
        return (
            f"An SDE on this state is a poor description here: on {sample} the {probe} fit is no "
            f"better than: {_listed(rivals)}; by {LABELS[worst]} it is beaten (gain of the fit "
            f"{rivals[worst]} nats per dimension, 95% interval over documents, both with {noise} "
            "noise)."
        )
    if not rivals[doubtful].shown:
        return (
            f"An SDE is not shown to describe this state better than simpler laws: on {sample} "
            f"the {probe} fit does not clearly beat: {_listed(rivals)}; its gain over "
            f"{LABELS[doubtful]} is {rivals[doubtful]} nats per dimension (95% interval over "
            f"documents, both with {noise} noise)."
        )
    return (
        f"The {probe} fit beats every simpler law on {sample}: the best of them with the same "
        f"{noise} noise, {LABELS[best]}, by {rivals[best]} nats per dimension "
        "(95% interval over documents)."
    )


def _listed(rivals: Mapping[str, Gain]) -> str:
    """Those that the fit is not shown to beat."""
    return ", ".join(LABELS[name] for name, gain in rivals.items() if not gain.shown)


def _drift_claim(mean: Gain, fit: Mapping[str, float], linear: Mapping[str, float]) -> str:
    """What of the gain over linear is drift, read within the constant-noise column."""
    explained = (
        f"it explains {fit['increment_r2']:.0%} of the increments' squared length, a linear one "
        f"{linear['increment_r2']:.0%}"
    )
    if mean.shown:
        return f"With constant noise its drift beats a linear one by {mean}: {explained}."
    return f"That its drift is better than a linear one is not shown (gain {mean}): {explained}."


def _token_claim(gain: Gain) -> str:
    if gain.shown:
        return f"It also beats a linear drift that is told the current token, by {gain}."
    beaten = "is better than the fit" if gain.refuted else "is not shown to be worse"
    return (
        f"A linear drift that is told the current token as well {beaten} (gain of the fit "
        f"{gain}): part of what the state moves by may be a table of words."
    )


def _dropped(count: int) -> str:
    one = count == 1
    return (
        f"Not scored {'is' if one else 'are'} {count:,} held-out transition{'' if one else 's'} "
        "whose whole prefix occurs in training."
    )


def _what_it_is(density: str, clock: str) -> str:
    if density == "discrete":
        return (
            f"{clock} have no step shorter than one: what is fitted is a discrete Gaussian "
            "kernel, read as an SDE at dt = 1. No continuous-time diffusion is claimed."
        )
    if density == "exact":
        return "The fitted one-step law is that of a linear SDE: it has a real logarithm."
    return (
        f"The coefficients are read as a continuous-time SDE's with the {density} density; that "
        "the process is one is not checked."
    )
