"""Values that a report joins and draws interactively: coloured tokens, states in a plane, doses.

Strips and state paths over the same tokens belong together, whichever analyzers they come from: a
token that is selected in one of them is selected in all.
"""

from collections.abc import Sized
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.estimate import Estimate


@dataclass(frozen=True)
class Strip:
    """Tokens, each coloured by a value."""

    name: str
    tokens: tuple[str, ...]
    values: tuple[float, ...]
    unit: str = ""
    scale: tuple[float, float] | None = None
    """The values at the ends of the colour scale, if several strips share it."""
    notes: tuple[str, ...] = ()
    """A few words on each token, read where it is selected; empty if there are none."""

    def __post_init__(self) -> None:
        _require_each(self.name, "values", self.values, self.tokens)
        if self.notes:
            _require_each(self.name, "notes", self.notes, self.tokens)


@dataclass(frozen=True, eq=False)
class StatePath:
    """The state at each token of a text, and the law of the state after it, in a plane.

    Raises `UsageError` unless there is a state, a mean and a covariance for each token.
    """

    tokens: tuple[str, ...]
    axes: tuple[str, str]
    """The labels of the axes of the plane."""
    states: Float[Tensor, "time 2"]
    mean: Float[Tensor, "time 2"]
    """Predictions of the state one step later, from each state."""
    covariance: Float[Tensor, "time 2 2"]
    """The covariance of the state one step later, given each state."""

    def __post_init__(self) -> None:
        count = len(self.tokens)
        for name, shape in {"states": [2], "mean": [2], "covariance": [2, 2]}.items():
            expected, got = [count, *shape], list(getattr(self, name).shape)
            if got != expected:
                raise UsageError(f"{name} of a state path must be {expected}, got {got}")


@dataclass(frozen=True)
class Dose:
    """The text and the effect of each arm at one dose: the intervention, then its controls."""

    label: str
    texts: tuple[Strip, ...]
    """One text for each arm, named after it."""
    effects: tuple[Estimate, ...]
    """The effect of each arm on other texts."""

    def __post_init__(self) -> None:
        _require_each(self.label, "effects", self.effects, self.texts)


@dataclass(frozen=True)
class DoseSeries:
    """An intervention and its controls at several doses, one of which is selected."""

    name: str
    doses: tuple[Dose, ...]
    start: int = 0
    """The number of the dose that is selected first, counted from 0."""
    prompt: str = ""
    """The beginning that all texts continue."""

    def __post_init__(self) -> None:
        if not 0 <= self.start < len(self.doses):
            raise UsageError(f"{self.name}: start must be one of {len(self.doses)} doses")


def _require_each(name: str, what: str, given: Sized, of: Sized) -> None:
    if len(given) != len(of):
        raise UsageError(f"{name}: expected {len(of)} {what}, got {len(given)}")
