"""The sections of a goodness-of-fit analysis."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from sdelens.report import Estimate, Figure


class SectionSkipped(Exception):
    """A section that does not apply to this run; the message says why."""


@runtime_checkable
class Section(Protocol):
    """One question of the analysis and its answer."""

    def headline(self) -> str:
        """The answer in one sentence."""

    def estimates(self) -> Sequence[Estimate]:
        """The table of numbers."""

    def arrays(self) -> Mapping[str, Tensor]:
        """Arrays by name."""

    def figures(self) -> Sequence[Figure]:
        """The figures."""
