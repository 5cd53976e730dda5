"""Analyzers that count views, fail, or ask for a prompt."""

from dataclasses import dataclass
from typing import ClassVar

from sdelens.report import Estimate, Finding


@dataclass(frozen=True)
class Counting:
    """How many views it is given."""

    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "run"

    def analyze(self, study, *, seed):
        count = Estimate("views", float(len(study.views)))
        return Finding("all", f"{len(study.views)} views", "", estimates=(count,))


@dataclass(frozen=True)
class Failing:
    """Never answers."""

    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"

    def analyze(self, study, *, seed):
        raise ZeroDivisionError("by zero")


@dataclass(frozen=True)
class Asking(Counting):
    """Needs a prompt."""

    needs: ClassVar[frozenset[str]] = frozenset({"prompt"})
