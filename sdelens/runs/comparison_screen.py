"""The first screen of a comparison: how each run differs from the first, paired by document."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sdelens.estimation.ratio import FEWEST
from sdelens.evidence.verdict import Gain
from sdelens.report import Estimate, Figure, Finding, FirstScreen, Panel
from sdelens.runs.first_screen import gain_bars, gain_check, interval_words, merged
from sdelens.runs.pairing import Pairing
from sdelens.summary import Check
from sdelens.wording import counted

Gains = Mapping[Pairing, Estimate]
"""Gains over the first run, of the views with the same held-out states."""


def comparison_screen(
    pairings: Sequence[Pairing], gains: Gains, changes: Sequence[Finding]
) -> FirstScreen:
    """A sentence on each run, checks of paired gains, and their figure or that of a change."""
    drawn = next((figure for change in changes for figure in change.figures), None)
    return FirstScreen(
        sentence=" ".join(_sentences(pairings, gains, changes)),
        checks=tuple(merged(_checks(gains))),
        sample=_sample(pairings),
        picture=drawn,
        gains=_figure(gains),
    )


def _sentences(
    pairings: Iterable[Pairing], gains: Gains, changes: Sequence[Finding]
) -> Iterator[str]:
    """One sentence for each run, on its last view."""
    for pairing in {pairing.second: pairing for pairing in pairings}.values():
        names = f"{pairing.second.folder.name} and {pairing.first.folder.name}"
        if pairing in gains:
            yield _said(pairing, _interval(pairing, gains[pairing]))
        elif pairing.same_states is False and changes:
            yield f"The states of {names} differ: {changes[-1].headline}"
        else:
            yield f"{names} cannot be paired: {pairing.words}."


def _said(pairing: Pairing, gain: Gain) -> str:
    better, worse = pairing.second.folder.name, pairing.first.folder.name
    if gain.refuted:
        better, worse = worse, better
    if gain.shown or gain.refuted:
        return f"{better} predicts the next state better than {worse}."
    return f"{better} and {worse} are not shown to differ."


def _checks(gains: Gains) -> Iterator[Check]:
    for pairing, gain in gains.items():
        claim = f"{pairing.second.folder.name} beats {pairing.first.folder.name}"
        yield gain_check(claim, _interval(pairing, gain))


def _interval(pairing: Pairing, gain: Estimate) -> Gain:
    """The gain with its 95% interval over documents, which few documents make infinite."""
    groups = _documents(pairing)
    if groups < FEWEST:
        return Gain(gain.value, -math.inf, math.inf)
    return Gain.around(gain.value, gain.stderr or 0.0, groups)


def _documents(pairing: Pairing) -> int:
    count: int = pairing.second.metrics(pairing.view)["held_out_documents"]
    return count


def _sample(pairings: Iterable[Pairing]) -> str:
    """The size of the smallest held-out sample."""
    return counted(min(map(_documents, pairings)), "held-out document")


def _figure(gains: Gains) -> Figure | None:
    """The paired gains as bars, with their intervals."""
    if not gains:
        return None
    words = [f"{pairing.second.folder.name} {pairing.view}" for pairing in gains]
    bars = gain_bars(words, [_interval(*item) for item in gains.items()])
    intervals = interval_words(min(map(_documents, gains)))
    caption = f"Gain over the first run on the same held-out documents, {intervals}."
    return Figure("gains", (Panel("", "paired gain, nats per dimension", (bars,)),), caption)
