"""The first screen of a report, from the scores and findings of a run."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from sdelens.estimation.ratio import FEWEST
from sdelens.evidence.verdict import LABELS, Gain, few_documents, gains_of
from sdelens.report import Figure, Finding, FirstScreen, Layer, Panel, Strip
from sdelens.states.recording import View
from sdelens.summary import DRIFT, QUESTIONS, Check, Outcome
from sdelens.wording import aligned, counted

OWN_CHECK = ("linear", "linear_token")
"""Baselines with a check of their own; of the others, the best one has a check."""
ORDER = (DRIFT, *(question for question in QUESTIONS if question != DRIFT))
"""The order of sentences and checks: how much is predicted comes before what kind it is."""
Scores = Mapping[View, Mapping[str, Any]]


def first_screen(scores: Scores, findings: Sequence[Finding]) -> FirstScreen:
    """Sentence and checks in the order of `ORDER`; the first figure and strip proposed."""
    ordered = sorted(findings, key=_place)
    checks = [check for own in scores.values() for check in _beaten(own)]
    checks += [check for finding in ordered for check in finding.summary.checks]
    return FirstScreen(
        sentence=_sentence(scores, ordered),
        checks=tuple(merged(checks)),
        sample=_sample(scores),
        picture=next(filter(None, map(_picture, ordered)), None),
        gains=gains_figure(scores),
        strip=next(filter(None, map(_strip, ordered)), None),
    )


def _place(finding: Finding) -> int:
    return ORDER.index(finding.question) if finding.question in ORDER else len(ORDER)


def _picture(finding: Finding) -> Figure | None:
    return next((f for f in finding.figures if f.name == finding.summary.figure), None)


def _strip(finding: Finding) -> Strip | None:
    return next((s for s in finding.strips if s.name == finding.summary.strip), None)


def _sentence(scores: Scores, findings: Iterable[Finding]) -> str:
    """What the analyzers say in a few words, at the last layer; else what the scores say."""
    groups = min(own["held_out_documents"] for own in scores.values())
    if groups < FEWEST:
        return few_documents(groups)
    last = {f.analyzer: f.summary.sentence for f in findings if f.summary.sentence}
    answered = {f.question for f in findings if f.summary.sentence}
    first = () if DRIFT in answered else (_beats(scores),)
    return " ".join((*first, *last.values()))


def _beats(scores: Scores) -> str:
    """Whether the last fit beats the baselines that ignore the state, and the linear one."""
    *_, last = scores.values()
    found = gains_of(last)
    lost = [LABELS[name] for name, gain in found.items() if not gain.shown]
    if not found:
        return "The fit is the same law as one of its baselines."
    if not lost:
        return "The fit predicts the next state better than every baseline."
    if len(lost) == len(found):
        return "The fit is not shown to predict the next state better than any baseline."
    return f"The fit is not shown to predict the next state better than: {', '.join(lost)}."


def _beaten(scores: Mapping[str, Any]) -> list[Check]:
    """A check for each of `OWN_CHECK` and for the best other baseline."""
    if scores["held_out_documents"] < FEWEST:
        return []
    found = gains_of(scores)
    others = [name for name in found if name not in OWN_CHECK]
    hardest = [min(others, key=lambda name: found[name].value)] if others else []
    names = hardest + [name for name in OWN_CHECK if name in found]
    return [gain_check(f"beats {LABELS[name]}", found[name]) for name in names]


def gain_check(claim: str, gain: Gain) -> Check:
    """Whether the gain is above zero, with its value.

    >>> gain_check("beats linear", Gain(0.0442, 0.03, 0.05))
    Check(claim='beats linear', outcome='yes', value='+0.044')
    >>> gain_check("beats token", Gain(-0.0005, -0.0009, -0.0001)).value
    '-0.00050'
    """
    outcome: Outcome = "yes" if gain.shown else "no" if gain.refuted else "unclear"
    (value,) = aligned(gain.value)
    return Check(claim, outcome, value if gain.value < 0 else f"+{value}")


def merged(checks: Iterable[Check]) -> list[Check]:
    """One check for each claim; the value of one made of several layers is how many agree."""
    by_claim: dict[str, list[Check]] = {}
    for check in checks:
        by_claim.setdefault(check.claim, []).append(check)
    return [own[0] if len(own) == 1 else _merged(own) for own in by_claim.values()]


def _merged(checks: Sequence[Check]) -> Check:
    outcomes = [check.outcome for check in checks]
    shared = outcomes[0] if len(set(outcomes)) == 1 else "unclear"
    value = f"{outcomes.count('yes')} of {counted(len(checks), 'layer')}"
    return Check(checks[0].claim, shared, value)


def _sample(scores: Scores) -> str:
    """The size of the held-out sample, the smallest of all layers."""
    smallest = min(scores.values(), key=lambda own: own["held_out_documents"])
    return (
        f"{counted(smallest['held_out_documents'], 'held-out document')}, "
        f"{counted(smallest['transitions'], 'transition')}"
    )


def gains_figure(scores: Scores) -> Figure | None:
    """The gains of the fits over their baselines, by baseline for one layer, else by layer."""
    found = {view: gains_of(own) for view, own in scores.items()}
    names = [name for name in LABELS if any(name in gains for gains in found.values())]
    if not names:
        return None
    unit = "gain, nats per dimension"
    intervals = interval_words(min(own["held_out_documents"] for own in scores.values()))
    if len(found) == 1:
        (gains,) = found.values()
        panel = Panel(
            "", unit, (gain_bars([LABELS[n] for n in names], [gains[n] for n in names]),)
        )
        (noise,) = {own["noise_column"] for own in scores.values()}
        caption = (
            f"Gain of the fit over each baseline with {noise} noise on held-out documents, "
            f"{intervals}."
        )
    else:
        lines = (layer for k, name in enumerate(names) for layer in _lines(found, name, k))
        panel = Panel("layer", unit, tuple(lines))
        caption = f"Gain of the fits over each baseline by layer, {intervals}."
    return Figure("gains", (panel,), caption)


def interval_words(documents: int) -> str:
    """What is said of the intervals of gains over so many held-out documents.

    >>> interval_words(4)
    'without intervals, which need 10 documents'
    """
    if documents < FEWEST:
        return f"without intervals, which need {FEWEST} documents"
    return "with 95% intervals"


def _columns(gains: Sequence[Gain]) -> dict[str, torch.Tensor]:
    return {
        name: torch.tensor([getattr(gain, own) for gain in gains], dtype=torch.float64)
        for name, own in (("y", "value"), ("low", "low"), ("high", "high"))
    }


def gain_bars(words: Sequence[str], gains: Sequence[Gain]) -> Layer:
    """Gains as bars with their intervals."""
    x = torch.arange(len(gains), dtype=torch.float64)
    return Layer("bars", {"x": x} | _columns(gains), "gain", words=tuple(words))


def _lines(
    found: Mapping[View, Mapping[str, Gain]], name: str, series: int
) -> tuple[Layer, Layer]:
    have = {view: gains[name] for view, gains in found.items() if name in gains}
    layers = [float(view.site.layer) if view.site.kind == "block" else -1.0 for view in have]
    x = torch.tensor(layers, dtype=torch.float64)
    columns = {"x": x} | _columns(list(have.values()))
    line = Layer("line", {"x": x, "y": columns["y"]}, LABELS[name], series)
    band = Layer("band", {k: columns[k] for k in ("x", "low", "high")}, "", series)
    return line, band
