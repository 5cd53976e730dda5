"""Intervals as estimates, as text, and as layers of figures."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sdelens.evidence.interval import Interval
from sdelens.report import Estimate, Layer


def estimate(name: str, interval: Interval, unit: str) -> Estimate:
    """A value with its standard error and its 95% interval over documents."""
    value, stderr, low, high = (float(t) for t in interval.tensors().values())
    if stderr != stderr:  # NaN for a single document
        return Estimate(name, value, unit=unit)
    return Estimate(name, value, stderr, f"{unit}, 95% [{low:.3g}, {high:.3g}]".lstrip(", "))


def with_interval(interval: Interval, digits: int = 3) -> str:
    """A value with its interval in brackets."""
    value, stderr, low, high = (float(t) for t in interval.tensors().values())
    if stderr != stderr:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def percent_with_interval(interval: Interval) -> str:
    """A share in percent with its interval in brackets."""
    value, stderr, low, high = (100 * float(t) for t in interval.tensors().values())
    return f"{value:.0f}%" if stderr != stderr else f"{value:.0f}% [{low:.0f}, {high:.0f}]"


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
