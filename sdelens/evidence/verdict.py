"""The verdict on a fit in plain sentences, from its held-out scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sdelens.estimation.ratio import FEWEST
from sdelens.evidence.student import student
from sdelens.wording import aligned

LABELS = {
    "random_walk": "random walk",
    "constant": "random walk with drift",
    "iid": "i.i.d.",
    "iid_position": "i.i.d. per position",
    "token": "token",
    "linear": "linear",
    "linear_token": "linear + token",
}
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
        value, low, high = aligned(self.value, self.low, self.high)
        return f"{value} [{low}, {high}]"

    @classmethod
    def of(cls, row: Mapping[str, Any], key: str, groups: int) -> "Gain":
        """Read a gain from the scores; those without an interval get Student's."""
        around = cls.around(row[key], row[f"{key}_stderr"], groups)
        return cls(row[key], *row.get(f"{key}_interval", (around.low, around.high)))

    @classmethod
    def around(cls, value: float, stderr: float, groups: int) -> "Gain":
        """A gain with Student's interval over so many groups of documents."""
        margin = student(0.975, groups) * stderr
        return cls(value, value - margin, value + margin)


@dataclass(frozen=True)
class Judgement:
    """The outcome of a comparison with baselines, and the baseline that decides it."""

    outcome: Literal["refuted", "unclear", "shown"]
    decisive: str
    gain: Gain

    @classmethod
    def of(cls, rivals: Mapping[str, Gain]) -> "Judgement":
        """The fit is refuted by one better baseline, and shown if it beats them all."""
        # the lowest upper end of the gain decides whether one is better, the lowest lower end
        # whether all are beaten
        worst = min(rivals, key=lambda name: rivals[name].high)
        if rivals[worst].refuted:
            return cls("refuted", worst, rivals[worst])
        doubtful = min(rivals, key=lambda name: rivals[name].low)
        if not rivals[doubtful].shown:
            return cls("unclear", doubtful, rivals[doubtful])
        best = min(rivals, key=lambda name: rivals[name].value)
        return cls("shown", best, rivals[best])


def verdict(
    scores: Mapping[str, Any],
    probe: str,
    density: str,
    *,
    clock: str = "Tokens",
    is_sde: bool = True,
) -> tuple[str, ...]:
    """The verdict in a few sentences, the main one first.

    Laws are compared with the same kind of noise as the fit. `clock` is the unit of time, such as
    "Tokens" or "Blocks". A law that is not an SDE is called one of the next state only.
    """
    what = _what_it_is(density, clock) if is_sde else LAW_ONLY
    suffix, groups = NOISES[scores["noise_column"]], scores["held_out_documents"]
    if groups < FEWEST:
        return (few_documents(groups), what)
    gains = gains_of(scores)
    richer = _richer(gains, density)
    rivals = {name: gain for name, gain in gains.items() if name not in richer}
    if not rivals:
        return (f"Every baseline is the same law as the {probe} fit.", what)
    judgement = Judgement.of(rivals)
    sentences = [_headline(judgement, rivals, richer, probe, scores)]
    sentences += [_same_law(name) for name in scores.get("same_law", []) if name != probe]
    if "linear" in gains and density == "exact":
        sentences.append(_intercept_claim(gains["linear"]))
    if "linear" in gains and suffix:
        linear = scores["baselines"]["linear"]
        mean = Gain.of(linear, "gain_of_fit", groups)
        sentences.append(_drift_claim(mean, scores["fit"], linear))
    if "linear_token" in gains:
        sentences.append(_token_claim(gains["linear_token"]))
    sentences += _new_prefixes(scores, rivals, judgement)
    return (*sentences, *scores.get("notes", ()), what)


def gains_of(scores: Mapping[str, Any]) -> dict[str, Gain]:
    """Gains over all baselines that are another law, with noise like the fit's."""
    key, same = f"gain_of_fit{NOISES[scores['noise_column']]}", scores.get("same_law", [])
    return {
        name: Gain.of(row, key, scores["held_out_documents"])
        for name, row in scores["baselines"].items()
        if name not in same and key in row
    }


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


def _richer(gains: Mapping[str, Gain], density: str) -> list[str]:
    """Baselines that the fit need not beat, because they are not simpler; each has a sentence.

    *linear + token* also knows the token, and *linear* contains every linear SDE.
    """
    free = [name for name in ("linear_token",) if name in gains and not gains[name].shown]
    if density == "exact" and "linear" in gains:
        free += [] if gains["linear"].shown or gains["linear"].refuted else ["linear"]
    return free


def _headline(
    judgement: Judgement,
    rivals: Mapping[str, Gain],
    richer: Sequence[str],
    probe: str,
    scores: Mapping[str, Any],
) -> str:
    """The main sentence: the fit against the baselines."""
    documents, steps = scores["held_out_documents"], scores["transitions"]
    sample = f"{documents:,} held-out documents ({steps:,} transitions)"
    noise, decisive, gain = scores["noise_column"], LABELS[judgement.decisive], judgement.gain
    if judgement.outcome == "refuted":
        return (
            f"This fit is a poor description of the state: on {sample} the {probe} fit does not "
            f"beat: {_listed(rivals)}; the baseline {decisive} is better (gain of the fit {gain} "
            f"nats per dimension, 95% interval over documents, both with {noise} noise)."
        )
    if judgement.outcome == "unclear":
        return (
            "There is no clear evidence that this fit describes the state better than the "
            f"baselines: on {sample} the {probe} fit does not clearly beat: {_listed(rivals)}; "
            f"its gain over {decisive} is {gain} nats per dimension (95% interval over documents, "
            f"both with {noise} noise)."
        )
    but = f" but {' and '.join(LABELS[name] for name in richer)}" if richer else ""
    return (
        f"The {probe} fit beats every baseline{but} on {sample}; it beats the best of them with "
        f"the same {noise} noise, {decisive}, by {gain} nats per dimension (95% interval over "
        "documents)."
    )


def _listed(rivals: Mapping[str, Gain]) -> str:
    """Baselines that the fit does not clearly beat, separated by commas."""
    return ", ".join(LABELS[name] for name, gain in rivals.items() if not gain.shown)


def _same_law(name: str) -> str:
    return f"The fit and the baseline {LABELS[name]} are the same law: training did not change it."


def _intercept_claim(gain: Gain) -> str:
    """Sentence on a linear SDE with constant coefficients, against an intercept at each time."""
    compared = f"an intercept at each time, as in the baseline linear (gain of the fit {gain})"
    if gain.refuted:
        return f"A linear law is better with {compared}: the mean changes along the path."
    if gain.shown:
        return f"Constant coefficients are better than {compared}."
    return f"Constant coefficients are not shown to differ from {compared}."


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


ALONE = {
    "refuted": "there the fit is worse",
    "unclear": "there the fit is not shown to be better",
    "shown": "there the fit beats every baseline that it is compared with above",
}
"""What is said of new prefixes alone if the conclusion differs."""
LAW_ONLY = (
    "The fit is a law of the next state that is not an SDE: it has no drift and diffusion, and "
    "analyzers that need them do not apply."
)


def _new_prefixes(
    scores: Mapping[str, Any], rivals: Mapping[str, Gain], judgement: Judgement
) -> list[str]:
    """A sentence on the transitions after prefixes that occur in no training document."""
    new, steps = scores.get("new_prefixes", scores), scores["transitions"]
    if new is None:
        return ["Every held-out transition follows a prefix that also occurs in training."]
    if not (known := steps - new["transitions"]):
        return []
    verb = "follows" if known == 1 else "follow"
    follow = f"{known:,} of {steps:,} held-out transitions {verb} a prefix that occurs in training"
    if new["held_out_documents"] < FEWEST:
        return [f"{follow}, and the others are too few to judge alone."]
    alone = Judgement.of({name: gain for name, gain in gains_of(new).items() if name in rivals})
    same = alone.outcome == judgement.outcome
    return [
        f"{follow}; on the others alone, the gain over {LABELS[alone.decisive]} is {alone.gain}: "
        f"{'the conclusion is the same' if same else ALONE[alone.outcome]}."
    ]


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
