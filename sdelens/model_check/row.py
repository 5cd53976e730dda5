"""One row of the check of a model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CheckRow:
    """A property of a model: whether it holds, and how that was found."""

    name: str
    passed: bool | None
    """None if it cannot be checked for this model."""
    words: str

    @property
    def result(self) -> str:
        """The result in a word."""
        return {True: "passed", False: "failed", None: "not checked"}[self.passed]


def measured(name: str, difference: float, limit: float, held: str, broken: str) -> CheckRow:
    """A row that passes if a relative difference of states is within a limit."""
    words = f"{held if difference <= limit else broken} (relative difference {difference:.2g})"
    return CheckRow(name, difference <= limit, words)
