"""Figures of each section of a goodness-of-fit analysis."""

import torch

from sdelens.evidence.verdict import LABELS
from sdelens.report import Figure, Layer, Panel
from sdelens.wording import counted
from sdelens_plugins.analyzers.common.intervals import (
    bars,
    intervals_over,
    line_with_band,
    percent,
)
from sdelens_plugins.analyzers.common.units import NATS
from sdelens_plugins.analyzers.goodness_of_fit.calibration import LEVELS, REGIONS, Calibration
from sdelens_plugins.analyzers.goodness_of_fit.gains import Gains
from sdelens_plugins.analyzers.goodness_of_fit.horizons import SCHEMES, ForecastScores
from sdelens_plugins.analyzers.goodness_of_fit.null_data import NullData

TITLES = ("Coordinates of r", "Random projections")


def gain_figures(gains: Gains) -> tuple[Figure, ...]:
    """Gains over every baseline, in nats and in proper scores, and by position."""
    return _nats(gains), _proper_scores(gains), _by_position(gains)


def _nats(gains: Gains) -> Figure:
    intervals = {"Constant noise": gains.nats, "State-dependent noise": gains.state_dependent}
    labels = [LABELS[name] for name in gains.names]
    panels = tuple(
        Panel("", f"gain, {NATS}", (bars(interval, labels),), title, share="gain")
        for title, interval in intervals.items()
        if interval
    )
    return Figure(
        "gains",
        panels,
        "Gain of the fit over every baseline with the same kind of noise, "
        f"{intervals_over(f'{gains.documents:,} held-out documents', gains.nats.low)}. Above zero "
        "the fit is better.",
    )


def _proper_scores(gains: Gains) -> Figure:
    labels = [LABELS[name] for name in gains.names]
    bars_by_score = {
        title: bars(percent(gains.relative(score)), labels)
        for score, title in (("crps", "CRPS"), ("energy", "Energy score"))
    }
    panels = tuple(
        Panel("", "lower by, percent", (layer,), title, share="scores")
        for title, layer in bars_by_score.items()
    )
    return Figure(
        "scores",
        panels,
        "Reduction of two proper scores by the fit's mean relative to every baseline, both with "
        "constant noise: the CRPS of single coordinates and the energy score of whole states.",
    )


def _by_position(gains: Gains) -> Figure:
    layers = [
        layer
        for series, name in enumerate(gains.positional)
        for layer in line_with_band(
            gains.positions, gains.by_position(name), f"over {LABELS[name]}", series
        )
    ]
    return Figure(
        "positions",
        (Panel("position", f"gain, {NATS}", tuple(layers)),),
        "Gain of the fit's mean by position in the text, with constant noise, "
        f"{intervals_over('documents', gains.nats.low)}.",
    )


def calibration_figures(calibration: Calibration) -> tuple[Figure, ...]:
    """Quantiles of the residuals, and coverage."""
    return _quantiles(calibration), _coverage(calibration)


def _quantiles(calibration: Calibration) -> Figure:
    z = calibration.normal_quantiles
    panels = []
    for title, scores in zip(TITLES, calibration.series[:2], strict=True):
        values = scores.quantiles(torch.special.ndtr(z))
        layers = [Layer("line", {"x": z, "y": z}, "standard normal", 1, dashed=True)]
        low, high = (values.quantile(q, dim=0) for q in (0.05, 0.95))
        layers.append(Layer("band", {"x": z, "low": low, "high": high}, "90% of them"))
        median = values.median(0).values
        layers.append(Layer("line", {"x": z, "y": median}, "observed (median)"))
        panels.append(
            Panel("normal quantile", "observed quantile", tuple(layers), title, share="quantiles")
        )
    return Figure(
        "residuals",
        (*panels, _lengths(calibration)),
        "Quantiles of the standardised residuals r of test transitions against those of the "
        f"standard normal law: {calibration.coordinates.series} coordinates and "
        f"{calibration.projections.series} random projections; and of the mean square of r over "
        "dimensions against those of its chi-square law. A line steeper than the diagonal means "
        "residuals that are wider than the law predicts.",
    )


def _lengths(calibration: Calibration) -> Panel:
    """The quantiles of |r|²/d against those of its law."""
    shares = torch.special.ndtr(calibration.normal_quantiles)
    expected = calibration.square_quantiles(shares)
    observed = calibration.log_squares.quantiles(shares)[0].exp()
    diagonal = {"x": expected, "y": expected}
    layers = (
        Layer("line", diagonal, "as predicted", 1, dashed=True),
        Layer("line", {"x": expected, "y": observed}, "observed"),
    )
    return Panel("chi-square quantile / d", "observed |r|² / d", layers, "Length of r")


def _coverage(calibration: Calibration) -> Figure:
    labels = [f"{region} {level:.0%}" for region in REGIONS for level in LEVELS]
    x = torch.arange(len(labels)).double()
    nominal = {"x": x, "y": torch.tensor(LEVELS * len(REGIONS)).double()}
    layers = (
        bars(calibration.coverage, labels),
        Layer("scatter", nominal, "nominal", series=1),
    )
    return Figure(
        "coverage",
        (Panel("", "share inside", layers),),
        "Share of test transitions inside the law's regions: the central interval of each "
        "coordinate (marginal) and the ellipsoid of all coordinates (joint), "
        f"{intervals_over('documents', calibration.coverage.low)}. The dots are the nominal "
        "shares.",
    )


def horizon_figures(forecasts: ForecastScores) -> tuple[Figure, ...]:
    """Forecast scores by the number of steps."""
    x = torch.tensor(forecasts.horizons).double()
    measures = (
        ("Increment R²", "share explained", forecasts.r2),
        ("Energy score", "lower by, percent", forecasts.lower),
        ("Likelihood", f"gain, {NATS}", forecasts.gain),
    )
    panels = []
    for title, y, measure in measures:
        layers = [
            layer
            for scheme, label in enumerate(SCHEMES.values())
            for layer in line_with_band(x, measure(scheme), label, scheme)
        ]
        panels.append(Panel("steps ahead", y, tuple(layers), title))
    caption = (
        "Forecasts of several steps from "
        f"{counted(int(forecasts.count.sum()), 'test state')}: the kernel iterated by simulation, "
        "a linear fit of as many steps, and i.i.d. states per position, to which energy score "
        f"and likelihood are relative, {intervals_over('documents', forecasts.gain(0, 1).low)}."
    )
    return (Figure("horizons", tuple(panels), caption),)


def null_figures(nulls: NullData) -> tuple[Figure, ...]:
    """The gain of a linear fit by data set."""
    panel = Panel("", f"gain, {NATS}", (bars(nulls.stacked, list(nulls.gains)),))
    caption = (
        "Gain of a linear fit over i.i.d. states per position, both fitted to each data set, "
        f"{intervals_over('its test documents', nulls.stacked.low)}."
    )
    return (Figure("nulls", (panel,), caption),)
