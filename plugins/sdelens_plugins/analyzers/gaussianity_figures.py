"""How normal the next state is, as figures."""

import torch

from sdelens.branching.next_states import FIRST
from sdelens.evidence.bootstrap import Interval, by_unit
from sdelens.report import Figure, Layer, Panel, counted
from sdelens_plugins.analyzers.gaussianity_shown import GaussianityShown
from sdelens_plugins.analyzers.section import course

BINS = 24
REACH = 4.0
"""Standard deviations that the histogram spans on either side."""
NAMED = 8
"""Tokens of the example that are named."""
TEMPERATURE, ALONG = "temperature", "first direction, standard deviations"


def figures(shown: GaussianityShown) -> tuple[Figure, ...]:
    """By temperature, an example, and what a mixture gains if that was asked."""
    gained = (shown.gain.figure(),) if shown.gain else ()
    return (_temperatures(shown), _example(shown), *gained)


def _temperatures(shown: GaussianityShown) -> Figure:
    panels = (
        Panel(TEMPERATURE, "log₂ of effective branches", _branches(shown), "Points"),
        Panel(TEMPERATURE, "excess kurtosis", _kurtosis(shown), "First direction"),
        Panel(TEMPERATURE, "share of the trace of S*", _shares(shown), "Directions"),
    )
    caption = (
        "The law of the next state by the temperature at which its token is drawn: how many "
        "equally likely points it is like, the excess kurtosis along its first direction (0 "
        "for a Gaussian, -2 for two equal points), and the share of its variance in the first "
        f"directions. Means and medians over {len(shown.found.unit):,} prefixes, with 95% "
        f"intervals over {counted(shown.bootstrap.documents, 'document')}; quartiles without."
    )
    return Figure("temperatures", panels, caption)


def _branches(shown: GaussianityShown) -> tuple[Layer, ...]:
    labels = {"exponential": "branches, exp of the entropy", "collision": "branches, 1 / Σp²"}
    found: tuple[Layer, ...] = ()
    for series, (name, label) in enumerate(labels.items()):
        logs = Interval(*(each.log2() for each in shown.means[name].tensors().values()))
        found += course(shown.temperatures, logs, label, series)
    return found


def _kurtosis(shown: GaussianityShown) -> tuple[Layer, ...]:
    x = shown.temperatures
    quartiles = [
        Layer("line", {"x": x, "y": shown.kurtosis[q].value}, "quartiles", 1, dashed=True)
        for q in (0.25, 0.75)
    ]
    normal = Layer("line", {"x": x, "y": torch.zeros_like(x)}, "of a Gaussian", 5, dashed=True)
    return (*course(x, shown.kurtosis[0.5], "median kurtosis", 0), *quartiles, normal)


def _shares(shown: GaussianityShown) -> tuple[Layer, ...]:
    found: tuple[Layer, ...] = ()
    for series, first in enumerate(FIRST):
        label = "first eigenvector" if first == 1 else f"first {first}"
        found += course(shown.temperatures, shown.means[f"share{first}"], label, series)
    return found


def _example(shown: GaussianityShown) -> Figure:
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


def _histogram(shown: GaussianityShown) -> tuple[Layer, ...]:
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


def _points(shown: GaussianityShown) -> tuple[Layer, ...]:
    atoms, place = shown.found.atoms, shown.example
    x, weights = atoms.projection[place], atoms.weights[place]
    few = weights.topk(min(NAMED, int((weights > 0).sum()))).indices
    words = tuple(shown.held.model.decode(atoms.tokens[place, few].tolist()))
    ends = torch.tensor([-REACH, REACH], dtype=torch.float64)  # as wide as the histogram
    return (
        Layer("line", {"x": ends, "y": torch.zeros_like(ends)}),
        Layer("scatter", {"x": x, "y": weights}, "a next token"),
        Layer("words", {"x": x[few], "y": weights[few]}, words=words),
    )
