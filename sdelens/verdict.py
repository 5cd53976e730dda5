"""Sentences that say what held-out scores allow to say, and no more."""

from collections.abc import Mapping
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


def interval(value: float, stderr: float) -> str:
    """A value with its 95% interval."""
    return f"{value:.3f} [{value - 1.96 * stderr:.3f}, {value + 1.96 * stderr:.3f}]"


def verdict(scores: Mapping[str, Any], probe: str, density: str) -> tuple[str, ...]:
    """The answer in a few sentences, the plainest first."""
    suffix = "_state_dependent" if scores["noise_column"] == "state-dependent" else ""
    rows = {
        name: row
        for name, row in scores["baselines"].items()
        if name != probe and f"gain_of_fit{suffix}" in row
    }
    unbeaten = [
        name
        for name in MUST_BEAT
        if name in rows and _low(rows[name], suffix) <= 0
    ]
    sentences = [_headline(unbeaten, probe, scores)]
    if "linear" in rows and suffix:
        sentences.append(_drift_claim(rows["linear"], scores))
    if "linear_token" in rows:
        sentences.append(_token_claim(rows["linear_token"], suffix))
    sentences.append(_what_it_is(density))
    return tuple(sentences)


def _low(row: Mapping[str, float], suffix: str) -> float:
    return row[f"gain_of_fit{suffix}"] - 1.96 * row[f"gain_of_fit{suffix}_stderr"]


def _headline(unbeaten: list[str], probe: str, scores: Mapping[str, Any]) -> str:
    gain = interval(scores["gain_over_iid_position"], scores["gain_over_iid_position_stderr"])
    documents = scores["held_out_documents"]
    if unbeaten:
        names = ", ".join(LABELS[name] for name in unbeaten)
        return (
            f"An SDE on this state is a poor description here: on {documents} held-out documents "
            f"the {probe} fit is not shown to be better than: {names}."
        )
    return (
        f"The {probe} fit beats every simpler law on {documents} held-out documents: "
        f"{gain} nats per dimension over i.i.d. states per position (95% interval)."
    )


def _drift_claim(row: Mapping[str, float], scores: Mapping[str, Any]) -> str:
    """What of the gain over linear is drift, read within the constant-noise column."""
    mean = interval(row["gain_of_fit"], row["gain_of_fit_stderr"])
    both = interval(row["gain_of_fit_state_dependent"], row["gain_of_fit_state_dependent_stderr"])
    r2 = scores["fit"]["increment_r2"]
    return (
        f"Over a linear drift it gains {mean} nats per dimension under the same constant noise, "
        f"and {both} where both have state-dependent noise; its mean explains {r2:.0%} of the "
        "increments' squared length."
    )


def _token_claim(row: Mapping[str, float], suffix: str) -> str:
    gain = interval(row[f"gain_of_fit{suffix}"], row[f"gain_of_fit{suffix}_stderr"])
    if _low(row, suffix) > 0:
        return f"It also beats a linear drift that is told the current token, by {gain}."
    return (
        "A linear drift that is told the current token as well does no worse (gain of the fit "
        f"{gain}): part of what the state moves by is a table of words."
    )


def _what_it_is(density: str) -> str:
    if density == "discrete":
        return (
            "Tokens have no step shorter than one: what is fitted is a discrete Gaussian kernel, "
            "read as an SDE at dt = 1. No continuous-time diffusion is claimed."
        )
    return f"The coefficients are those of a continuous-time SDE with the {density} density."
