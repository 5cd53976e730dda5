"""The verdict on a fit in plain sentences, from its held-out scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdelens.estimation.ratio import FEWEST
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
"""Baselines that a fit must beat: each uses only the state, the time or the token."""
NOISES = {"constant": "", "state-dependent": "_state_dependent"}
"""Columns of the scores and the suffixes of their keys."""


@dataclass(frozen=True)
class Gain:
    """Gain of the fit over another law, with its 95% interval over documents."""

    value: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Whether the interval lies above zero."""
        return self.low > 0

    @property
    def refuted(self) -> bool:
        """Whether the interval lies below zero, so that the other law is better."""
        return self.high < 0

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @classmethod
    def of(cls, row: Mapping[str, Any], key: str, groups: int) -> "Gain":
        """Read a gain from the scores; those without an interval get Student's."""
        margin = student(0.975, groups) * row[f"{key}_stderr"]
        return cls(row[key], *row.get(f"{key}_interval", (row[key] - margin, row[key] + margin)))


def verdict(
    scores: Mapping[str, Any], probe: str, density: str, *, clock: str = "Tokens"
) -> tuple[str, ...]:
    """The verdict in three to five sentences, the main one first.

    Laws are compared with the same kind of noise as the fit. `clock` is the unit of time, such as
    "Tokens" or "Blocks".
    """
    suffix, groups = NOISES[scores["noise_column"]], scores["held_out_documents"]
    if groups < FEWEST:
        return (few_documents(groups), _what_it_is(density, clock))
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


def few_documents(groups: int) -> str:
    """The sentence in place of a conclusion from few held-out documents.

    >>> few_documents(3)
    'No conclusion is drawn: 3 held-out documents have transitions to score, but 10 are needed.'
    """
    have = "document has" if groups == 1 else "documents have"
    return (
        f"No conclusion is drawn: {groups or 'no'} held-out {have} transitions to score, but "
        f"{FEWEST} are needed."
    )


def _headline(gains: Mapping[str, Gain], probe: str, scores: Mapping[str, Any]) -> str:
    """The main sentence: the fit against the baselines that it must beat."""
    documents, steps = scores["held_out_documents"], scores["transitions"]
    sample = f"{documents:,} held-out documents ({steps:,} transitions)"
    rivals = {name: gains[name] for name in MUST_BEAT if name in gains}
    noise = scores["noise_column"]
    # `worst` has the lowest upper end of the gain, `doubtful` the lowest lower end
    worst = min(rivals, key=lambda name: rivals[name].high)
    doubtful = min(rivals, key=lambda name: rivals[name].low)
    best = min(rivals, key=lambda name: rivals[name].value)
    if rivals[worst].refuted:
        return (
            f"An SDE is a poor description of this state: on {sample} the {probe} fit does not "
            f"beat: {_listed(rivals)}; {LABELS[worst]} is better (gain of the fit {rivals[worst]} "
            f"nats per dimension, 95% interval over documents, both with {noise} noise)."
        )
    if not rivals[doubtful].shown:
        return (
            "There is no clear evidence that an SDE describes this state better than simpler "
            f"laws: on {sample} the {probe} fit does not clearly beat: {_listed(rivals)}; its "
            f"gain over {LABELS[doubtful]} is {rivals[doubtful]} nats per dimension (95% interval "
            f"over documents, both with {noise} noise)."
        )
    return (
        f"The {probe} fit beats every simpler law on {sample}; it beats the best of them with the "
        f"same {noise} noise, {LABELS[best]}, by {rivals[best]} nats per dimension (95% interval "
        "over documents)."
    )


def _listed(rivals: Mapping[str, Gain]) -> str:
    """Baselines that the fit does not clearly beat, separated by commas."""
    return ", ".join(LABELS[name] for name, gain in rivals.items() if not gain.shown)


def _drift_claim(mean: Gain, fit: Mapping[str, float], linear: Mapping[str, float]) -> str:
    """Sentence on the drift: the gain over linear with constant noise for both."""
    explained = (
        f"it explains {fit['increment_r2']:.0%} of the increments' squared length, a linear drift "
        f"{linear['increment_r2']:.0%}"
    )
    if mean.shown:
        return f"With constant noise its drift beats a linear drift by {mean}: {explained}."
    return f"Its drift does not clearly beat a linear drift (gain {mean}): {explained}."


def _token_claim(gain: Gain) -> str:
    if gain.shown:
        return f"It also beats a linear drift given the current token, by {gain}."
    beaten = "is better than the fit" if gain.refuted else "is not clearly worse"
    return (
        f"A linear drift given the current token {beaten} (gain of the fit {gain}): part of the "
        "motion may be a lookup table of words."
    )


def _dropped(count: int) -> str:
    transitions = "transition is" if count == 1 else "transitions are"
    return (
        f"{count:,} held-out {transitions} not scored because the whole prefix occurs in training."
    )


def _what_it_is(density: str, clock: str) -> str:
    if density == "discrete":
        return (
            f"{clock} have no step shorter than one: the fit is a discrete Gaussian kernel, "
            "interpreted as an SDE with dt = 1. No continuous-time diffusion is claimed."
        )
    if density == "exact":
        return "The fitted one-step law is that of a linear SDE: its matrix has a real logarithm."
    return (
        f"The coefficients are those of a continuous-time SDE, fitted with the {density} density; "
        "whether the process is a diffusion is not tested."
    )
