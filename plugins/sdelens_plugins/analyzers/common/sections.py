"""What the parts of an analysis have in common: estimates with intervals, arrays, figures."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from sdelens.evidence.bootstrap import Interval
from sdelens.report import Estimate, Figure, Layer


class LeftOut(Exception):
    """Why a part has nothing to say here: a sentence for the reader."""


@runtime_checkable
class Section(Protocol):
    """One question of several, answered."""

    def headline(self) -> str:
        """The answer, in one sentence."""

    def estimates(self) -> Sequence[Estimate]:
        """Its numbers."""

    def arrays(self) -> Mapping[str, Tensor]:
        """The same and more, by name."""

    def figures(self) -> Sequence[Figure]:
        """What they look like."""


def estimate(name: str, interval: Interval, unit: str) -> Estimate:
    """One number, its error and its 95% interval over documents."""
    value, stderr, low, high = (float(t) for t in interval.tensors().values())
    if stderr != stderr:  # one document has no error
        return Estimate(name, value, unit=unit)
    return Estimate(name, value, stderr, f"{unit}, 95% [{low:.3g}, {high:.3g}]".lstrip(", "))


def bracketed(interval: Interval, digits: int = 3) -> str:
    """A value with its interval, for a sentence."""
    value, stderr, low, high = (float(t) for t in interval.tensors().values())
    if stderr != stderr:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def bars(interval: Interval, words: Sequence[str]) -> Layer:
    """A bar for each, with its interval."""
    x = torch.arange(len(words)).double()
    ends = {"x": x, "y": interval.value, "low": interval.low, "high": interval.high}
    return Layer("bars", ends, words=tuple(words))


def course(x: Tensor, interval: Interval, label: str, series: int) -> tuple[Layer, Layer]:
    """A line in its band."""
    band = {"x": x, "low": interval.low, "high": interval.high}
    line = {"x": x, "y": interval.value}
    return (
        Layer("band", band, series=series),
        Layer("line", line, label, series, dashed=series > 0),
    )
