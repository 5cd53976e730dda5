"""How normal the next state is, as figures."""

from dataclasses import replace

import torch

from sdelens.evidence.bootstrap import by_unit
from sdelens.evidence.interval import Interval
from sdelens.report import Figure, Layer, Panel, counted
from sdelens_plugins.analyzers.common.intervals import line_with_band
from sdelens_plugins.analyzers.gaussianity.next_states import FIRST
from sdelens_plugins.analyzers.gaussianity.results import GaussianityResults

BINS = 24
REACH = 4.0
"""Standard deviations that the histogram spans on either side."""
NAMED = 8
"""Tokens of the example that are named."""
CEILING = 3.0
"""Kurtosis above is drawn there: in the cold it has no limit."""
TEMPERATURE, ALONG = "temperature", "first direction, standard deviations"


def figures(shown: GaussianityResults) -> tuple[Figure, ...]:
    """By temperature, an example, and what a mixture gains if that was asked."""
    gained = (shown.gain.figure(),) if shown.gain else ()
    return (_temperatures(shown), _example(shown), *gained)


def _temperatures(shown: GaussianityResults) -> Figure:
    panels = (
        Panel(TEMPERATURE, "log₂ of effective branches", _branches(shown), "Points"),
        Panel(TEMPERATURE, "excess kurtosis", _kurtosis(shown), "First direction"),
        Panel(TEMPERATURE, "share of the trace of S*", _shares(shown), "Directions"),
    )
    caption = (
        "The law of the next state by the temperature at which its token is drawn: how many "
        "equally likely points it is like, the excess kurtosis along its first direction (0 "
        "for a Gaussian, -2 for two equal points; above 3 it is drawn at 3), and the share of its "
        "variance in the first directions. Dashed: the same states, the weights of their tokens "
        "permuted; only what differs from it is of which states go with which probabilities. "
        f"Means and medians over {len(shown.found.unit):,} prefixes, with 95% "
        f"intervals over {counted(shown.bootstrap.documents, 'document')}; quartiles and dashed "
        "lines without."
    )
    return Figure("temperatures", panels, caption)


def _solid(
    shown: GaussianityResults, interval: Interval, label: str, series: int
) -> tuple[Layer, Layer]:
    """A line in its band; dashes are for permuted weights alone."""
    band, line = line_with_band(shown.temperatures, interval, label, series)
    return band, replace(line, dashed=False)


def _branches(shown: GaussianityResults) -> tuple[Layer, ...]:
    labels = {"exponential": "exp of the entropy", "collision": "1 / Σp²"}
    found: tuple[Layer, ...] = ()
    for series, (name, label) in enumerate(labels.items()):
        found += _solid(shown, shown.means[name].map(torch.log2), label, series)
    return found


def _kurtosis(shown: GaussianityResults) -> tuple[Layer, ...]:
    x = shown.temperatures
    low, median, high, chance = (
        interval.map(lambda end: end.clamp(max=CEILING))
        for interval in (*(shown.kurtosis[q] for q in (0.25, 0.5, 0.75)), shown.chance["kurtosis"])
    )
    quartiles = [Layer("line", {"x": x, "y": q.value}, "quartiles", 5) for q in (low, high)]
    permuted = {"x": x, "y": chance.value}
    return (
        *_solid(shown, median, "median", 2),
        Layer("line", permuted, "median, permuted", 2, dashed=True),
        *quartiles,
    )


def _shares(shown: GaussianityResults) -> tuple[Layer, ...]:
    permuted = {"x": shown.temperatures, "y": shown.chance["share1"].value}
    return (
        *_solid(shown, shown.means["share1"], "first eigenvector", 3),
        Layer("line", permuted, "first, permuted", 3, dashed=True),
        *_solid(shown, shown.means[f"share{FIRST[-1]}"], f"first {FIRST[-1]}", 4),
    )


def _example(shown: GaussianityResults) -> Figure:
    place, found = shown.example, shown.found
    panels = (
        Panel(ALONG, "density", _histogram(shown), "Law of the next state"),
        Panel(ALONG, "probability of the token", _points(shown), "Its points"),
    )
    kurtosis = float(found.of("kurtosis")[shown.own, place])
    caption = (
        f"After “…{shown.prefix(place)}” (test document {int(found.document[place])}), a prefix "
        f"of median kurtosis ({kurtosis:.2f}): where the next states lie along the direction of "
        "most variance, against the normal density of the same mean and variance; and the "
        "likeliest tokens there. One prefix, one direction; its sign is without meaning."
    )
    return Figure("example", panels, caption)


def _histogram(shown: GaussianityResults) -> tuple[Layer, ...]:
    atoms, width = shown.found.atoms, 2 * REACH / BINS
    x = atoms.projection[shown.example].clamp(-REACH, REACH - 1e-9)
    inside = ((x + REACH) / width).long()
    heights = by_unit(atoms.weights[shown.example], inside, BINS) / width
    middles = width * (torch.arange(BINS).double() + 0.5) - REACH
    fine = torch.linspace(-REACH, REACH, 201, dtype=torch.float64)
    density = (-fine.square() / 2).exp() / (2 * torch.pi) ** 0.5
    return (
        Layer("bars", {"x": middles, "y": heights}, "next states"),
        Layer("line", {"x": fine, "y": density}, "normal, same mean and variance", 1),
    )


def _points(shown: GaussianityResults) -> tuple[Layer, ...]:
    atoms, place = shown.found.atoms, shown.example
    x, weights = atoms.projection[place], atoms.weights[place]
    few = weights.topk(min(NAMED, int((weights > 0).sum()))).indices
    words = tuple(shown.held.model.decode(atoms.tokens[place, few].tolist()))
    return (
        Layer("scatter", {"x": x, "y": weights}, "a next token"),
        Layer("words", {"x": x[few], "y": weights[few]}, words=words),
    )
