"""Who is told how far the work is."""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

from sdelens.registry import OURS, plugins
from sdelens.runs.plan import Plan


@runtime_checkable
class Progress(Protocol):
    """What a stage gives: called with steps done, a remark, and the total where it turns out."""

    def __call__(self, steps: int, remark: str = "", total: int | None = None) -> None: ...


@runtime_checkable
class Observer(Protocol):
    """Who is told how far the work is."""

    def stage(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Progress]:
        """A stage of so many units."""

    def planned(self, plan: Plan) -> None:
        """Called once, before the work."""

    def told(self, sentence: str) -> None:
        """Something worth knowing before it goes on."""


def _ignored(steps: int, remark: str = "", total: int | None = None) -> None:
    del steps, remark, total


class NullObserver:
    """An observer that shows nothing."""

    def stage(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Progress]:
        del name, total, unit
        return nullcontext(_ignored)

    def planned(self, plan: Plan) -> None:
        del plan

    def told(self, sentence: str) -> None:
        del sentence


def at_hand() -> Observer:
    """In a notebook an installed observer that draws there (group ``sdelens.observers``).

    Ours is asked first; one that fails is left out with a line on stderr.
    """
    known = plugins("observer") if "ipykernel" in sys.modules else {}
    for each in sorted(known.values(), key=lambda plugin: plugin.distribution != OURS):
        try:
            found = each.load()()
            if isinstance(found, Observer):
                return found
            said = "it has no stage, planned and told"
        except Exception as error:
            said = str(error)
        print(f"left out: {each}: {said}", file=sys.stderr)
    return NullObserver()
