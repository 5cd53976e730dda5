"""Intervals as estimates, as text, and as layers of figures."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sdelens.estimation.ratio import FEWEST
from sdelens.evidence.interval import Interval
from sdelens.report import Estimate, Layer

MORE = 2
"""Greatest number of decimals that an interval may need beyond the usual number."""


def estimate(name: str, interval: Interval, unit: str) -> Estimate:
    """A value with its standard error and its 95% interval over documents, as far as known."""
    value, stderr, low, high = _numbers(interval)
    if math.isnan(stderr):  # of a single document
        return Estimate(name, value, unit=unit)
    if math.isnan(low):  # of few documents
        return Estimate(name, value, stderr, unit)
    return Estimate(name, value, stderr, f"{unit}, 95% [{low:.3g}, {high:.3g}]".lstrip(", "))


def with_interval(interval: Interval, digits: int = 3) -> str:
    """A value with its interval in brackets; of few documents, with its standard error.

    >>> with_interval(Interval(*torch.tensor([0.5, 0.1, 0.3, 0.7])), 1)
    '0.5 [0.3, 0.7]'
    >>> with_interval(Interval(*torch.tensor([0.5, 0.1, torch.nan, torch.nan])), 1)
    '0.5 ± 0.1'
    """
    digits = _digits(interval, digits)
    # adding zero turns a rounded -0.0 into 0.0
    value, stderr, low, high = (round(n, digits) + 0.0 for n in _numbers(interval))
    if math.isnan(stderr):
        return f"{value:.{digits}f}"
    if math.isnan(low):
        return f"{value:.{digits}f} ± {stderr:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def percent_with_interval(interval: Interval) -> str:
    """A share in percent with its interval in brackets; of few documents, with its error.

    >>> percent_with_interval(Interval(*torch.tensor([0.5, 0.001, 0.498, 0.502])))
    '50.0% [49.8, 50.2]'
    """
    shown = percent(interval)
    digits = _digits(shown, 0)
    value, stderr, low, high = _numbers(shown)
    if math.isnan(stderr):
        return f"{value:.{digits}f}%"
    if math.isnan(low):
        return f"{value:.{digits}f}% ± {stderr:.{digits}f}%"
    return f"{value:.{digits}f}% [{low:.{digits}f}, {high:.{digits}f}]"


def _digits(interval: Interval, least: int) -> int:
    """Decimals at which the ends of an interval differ; at most `MORE` than the least number."""
    _, _, low, high = _numbers(interval)
    every = range(least, least + MORE + 1)
    return next((n for n in every if round(low, n) < round(high, n)), least)


def _numbers(interval: Interval) -> tuple[float, ...]:
    return tuple(float(number) for number in interval.tensors().values())


def intervals_over(over: str, drawn: Tensor) -> str:
    """The phrase of a caption for intervals with these ends, which few documents do not have.

    >>> intervals_over("12 documents", torch.ones(3))
    'with 95% intervals over 12 documents'
    >>> intervals_over("8 documents", torch.full((3,), torch.nan))
    'over 8 documents, without intervals, which need 10 or more'
    """
    if drawn.isfinite().any():
        return f"with 95% intervals over {over}"
    return f"over {over}, without intervals, which need {FEWEST} or more"


def percent(share: Interval) -> Interval:
    """A share in percent."""
    return share.map(lambda end: 100 * end)


def bars(interval: Interval, words: Sequence[str]) -> Layer:
    """Bars with their intervals."""
    x = torch.arange(len(words)).double()
    ends = {"x": x, "y": interval.value, "low": interval.low, "high": interval.high}
    return Layer("bars", ends, words=tuple(words))


def line_with_band(x: Tensor, interval: Interval, label: str, series: int) -> tuple[Layer, Layer]:
    """A line with a band for its interval."""
    band = {"x": x, "low": interval.low, "high": interval.high}
    line = {"x": x, "y": interval.value}
    return (
        Layer("band", band, series=series),
        Layer("line", line, label, series, dashed=series > 0),
    )
