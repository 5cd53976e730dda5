"""The results of one part of an analysis."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from sdelens.report import Estimate
from sdelens.summary import Check


@dataclass(frozen=True, eq=False)
class Section:
    """The answer to one question: a sentence, its estimates and its arrays."""

    sentence: str
    estimates: tuple[Estimate, ...]
    arrays: Mapping[str, Tensor]
    note: str = ""
    """What could not be measured, or what else the reader should know."""
    checks: tuple[Check, ...] = ()
    """Its checks on the first screen of the report."""
