"""Sentences that say what held-out scores allow to say, and no more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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


def student(groups: int) -> float:
    """The 97.5% quantile of Student's t with `groups` - 1 degrees of freedom.

    By the expansion around the normal one (Abramowitz and Stegun 26.7.5): held-out documents are
    often few, and with six of them the interval is a third wider than the normal one.

    >>> [round(student(n), 2) for n in (6, 20, 1000)]
    [2.57, 2.09, 1.96]
    """
    z, v = 1.959964, max(1, groups - 1)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3


@dataclass(frozen=True)
class Gain:
    """How much better the fit is than another law, with the 95% interval over documents."""

    value: float
    margin: float

    @property
    def shown(self) -> bool:
        """Whether the interval lies above zero."""
        return self.value > self.margin

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.value - self.margin:.3f}, {self.value + self.margin:.3f}]"

    @classmethod
    def of(cls, row: Mapping[str, float], key: str, groups: int) -> "Gain":
        """From the scores."""
        return cls(row[key], student(groups) * row[f"{key}_stderr"])


def verdict(scores: Mapping[str, Any], probe: str, density: str) -> tuple[str, ...]:
    """The answer in a few sentences, the plainest first."""
    suffix = "_state_dependent" if scores["noise_column"] == "state-dependent" else ""
    groups = scores["held_out_documents"]
    gains = {
        name: Gain.of(row, f"gain_of_fit{suffix}", groups)
        for name, row in scores["baselines"].items()
        if name != probe and f"gain_of_fit{suffix}" in row
    }
    sentences = [_headline(gains, probe, scores)]
    if "linear" in gains and suffix:
        mean = Gain.of(scores["baselines"]["linear"], "gain_of_fit", groups)
        sentences.append(_drift_claim(mean, gains["linear"], scores["fit"]["increment_r2"]))
    if "linear_token" in gains:
        sentences.append(_token_claim(gains["linear_token"]))
    sentences.append(_what_it_is(density))
    return tuple(sentences)


def _headline(gains: Mapping[str, Gain], probe: str, scores: Mapping[str, Any]) -> str:
    documents = scores["held_out_documents"]
    unbeaten = [LABELS[n] for n in MUST_BEAT if n in gains and not gains[n].shown]
    if unbeaten:
        return (
            f"An SDE on this state is a poor description here: on {documents} held-out documents "
            f"the {probe} fit is not shown to be better than: {', '.join(unbeaten)}."
        )
    gain = Gain.of(scores, "gain_over_iid_position", documents)
    return (
        f"The {probe} fit beats every simpler law on {documents} held-out documents: "
        f"{gain} nats per dimension over i.i.d. states per position (95% interval)."
    )


def _drift_claim(mean: Gain, both: Gain, r2: float) -> str:
    """What of the gain over linear is drift, read within the constant-noise column."""
    return (
        f"Over a linear drift it gains {mean} nats per dimension under the same constant noise, "
        f"and {both} where both have state-dependent noise; its mean explains {r2:.0%} of the "
        "increments' squared length."
    )


def _token_claim(gain: Gain) -> str:
    if gain.shown:
        return f"It also beats a linear drift that is told the current token, by {gain}."
    return (
        "Over a linear drift that is told the current token as well no gain is shown (gain of the "
        f"fit {gain}): part of what the state moves by may be a table of words."
    )


def _what_it_is(density: str) -> str:
    if density == "discrete":
        return (
            "Tokens have no step shorter than one: what is fitted is a discrete Gaussian kernel, "
            "read as an SDE at dt = 1. No continuous-time diffusion is claimed."
        )
    return f"The coefficients are those of a continuous-time SDE with the {density} density."
