"""Figures of the shape of the next-state law, and of the gain of a mixture."""

from dataclasses import replace

import torch
from einops import rearrange

from sdelens.evidence.bootstrap import by_unit
from sdelens.evidence.interval import Interval
from sdelens.report import Figure, Layer, Panel
from sdelens.wording import counted
from sdelens_plugins.analyzers.common.intervals import bars, intervals_over, line_with_band
from sdelens_plugins.analyzers.common.units import NATS
from sdelens_plugins.analyzers.gaussianity.mixture_gain import MixtureGain
from sdelens_plugins.analyzers.gaussianity.next_states import EIGENVECTORS
from sdelens_plugins.analyzers.gaussianity.prefix_statistics import PrefixStatistics
from sdelens_plugins.analyzers.gaussianity.results import GaussianityResults

BINS = 24
REACH = 4.0
"""The standard deviations that the histogram spans on either side."""
LABELLED = 8
"""The number of tokens of the example with a label."""
TEMPERATURE, PROJECTION = "temperature", "first direction, standard deviations"


def figures(results: GaussianityResults) -> tuple[Figure, ...]:
    """Shapes by temperature, an example, and the gain of a mixture if it was measured."""
    gain = (_mixture(results.gain),) if results.gain else ()
    return (_temperatures(results.statistics), _example(results), *gain)


def _temperatures(statistics: PrefixStatistics) -> Figure:
    panels = (
        Panel(
            *(TEMPERATURE, "effective branches", _branches(statistics), "Points"), y_scale="log"
        ),
        Panel(
            *(TEMPERATURE, "excess kurtosis", _kurtosis(statistics), "First direction"),
            y_scale="symlog",
        ),
        Panel(TEMPERATURE, "share of the trace of S*", _shares(statistics), "Directions"),
    )
    documents = counted(statistics.bootstrap.documents, "document")
    drawn = intervals_over(documents, statistics.kurtosis[0.5].low)
    caption = (
        "The law of the next state by the sampling temperature of its token: the effective number "
        "of points, the excess kurtosis along the first direction (0 for a Gaussian, -2 for two "
        "equal points; the scale is logarithmic beyond 1), and the share of variance in the first "
        "directions. Dashed: the same states with the weights of their tokens permuted; only the "
        "difference depends on which states have which probabilities. Means and medians over "
        f"{len(statistics.states.unit):,} prefixes, {drawn}; quartiles and dashed lines have no "
        "intervals."
    )
    return Figure("temperatures", panels, caption)


def _solid(
    statistics: PrefixStatistics, interval: Interval, label: str, series: int
) -> tuple[Layer, Layer]:
    """A solid line with its band; dashed lines are those of permuted weights."""
    band, line = line_with_band(statistics.temperatures, interval, label, series)
    return band, replace(line, dashed=False)


def _branches(statistics: PrefixStatistics) -> tuple[Layer, ...]:
    labels = {"exponential": "exp of the entropy", "collision": "1 / Σp²"}
    layers: tuple[Layer, ...] = ()
    for series, (name, label) in enumerate(labels.items()):
        layers += _solid(statistics, statistics.means[name], label, series)
    return layers


def _kurtosis(statistics: PrefixStatistics) -> tuple[Layer, ...]:
    x = statistics.temperatures
    low, median, high = (statistics.kurtosis[q] for q in (0.25, 0.5, 0.75))
    permuted = statistics.permuted["kurtosis"]
    quartiles = [Layer("line", {"x": x, "y": q.value}, "quartiles", 5) for q in (low, high)]
    dashed = {"x": x, "y": permuted.value}
    return (
        *_solid(statistics, median, "median", 2),
        Layer("line", dashed, "median, permuted", 2, dashed=True),
        *quartiles,
    )


def _shares(statistics: PrefixStatistics) -> tuple[Layer, ...]:
    permuted = {"x": statistics.temperatures, "y": statistics.permuted["share1"].value}
    return (
        *_solid(statistics, statistics.means["share1"], "first eigenvector", 3),
        Layer("line", permuted, "first, permuted", 3, dashed=True),
        *_solid(
            statistics,
            statistics.means[f"share{EIGENVECTORS[-1]}"],
            f"first {EIGENVECTORS[-1]}",
            4,
        ),
    )


def _example(results: GaussianityResults) -> Figure:
    statistics = results.statistics
    states, prefix = statistics.states, statistics.example
    panels = (
        Panel(PROJECTION, "density", _histogram(statistics), "Law of the next state"),
        Panel(PROJECTION, "probability of the token", _points(results), "Its points"),
    )
    kurtosis = float(states.of("kurtosis")[statistics.own, prefix])
    caption = (
        f"After “…{results.example_text()}” (test document {int(states.document[prefix])}), a "
        f"prefix of median kurtosis ({kurtosis:.2f}). Left: the next states along the direction "
        "of most variance, with the normal density of the same mean and variance. Right: the most "
        "likely tokens. This is one prefix and one direction, whose sign is arbitrary."
    )
    return Figure("example", panels, caption)


def _histogram(statistics: PrefixStatistics) -> tuple[Layer, ...]:
    atoms, width = statistics.states.atoms, 2 * REACH / BINS
    x = atoms.projection[statistics.example].clamp(-REACH, REACH - 1e-9)
    bins = ((x + REACH) / width).long()
    heights = by_unit(atoms.weights[statistics.example], bins, BINS) / width
    centres = width * (torch.arange(BINS).double() + 0.5) - REACH
    grid = torch.linspace(-REACH, REACH, 201, dtype=torch.float64)
    density = (-grid.square() / 2).exp() / (2 * torch.pi) ** 0.5
    return (
        Layer("bars", {"x": centres, "y": heights}, "next states"),
        Layer("line", {"x": grid, "y": density}, "normal, same mean and variance", 1),
    )


def _points(results: GaussianityResults) -> tuple[Layer, ...]:
    atoms, prefix = results.statistics.states.atoms, results.statistics.example
    x, weights = atoms.projection[prefix], atoms.weights[prefix]
    largest = weights.topk(min(LABELLED, int((weights > 0).sum()))).indices
    words = tuple(results.held.model.decode(atoms.tokens[prefix, largest].tolist()))
    return (
        Layer("scatter", {"x": x, "y": weights}, "a next token"),
        Layer("words", {"x": x[largest], "y": weights[largest]}, words=words),
    )


def _mixture(gain: MixtureGain) -> Figure:
    names = ("diagonal", "correlated")
    words = [f"{name}, floor {floor:g}" for name in names for floor in gain.floors]
    intervals = gain.gains.map(lambda end: rearrange(end, "floor gaussian -> (gaussian floor)"))
    caption = (
        f"Gain of a mixture of {gain.components} Gaussians on held-out steps, at two floors of "
        "its variances, over one Gaussian with the same network and floor (diagonal), and over "
        "one that also has a full correlation (correlated), "
        f"{intervals_over('documents', gain.gains.low)} for one training run. A gain that grows "
        "as the floor falls indicates states that are nearly discrete."
    )
    panel = Panel("", f"gain, {NATS}", (bars(intervals, words),))
    return Figure("mixture", (panel,), caption)
