"""Observers receive progress updates."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from sdelens.containment.contained import contained
from sdelens.containment.exits import StopRequested
from sdelens.errors import BrokenPlugin, SdelensError, message_of, words_of
from sdelens.registry import OURS, plugins
from sdelens.runs.plan import Plan


@runtime_checkable
class Progress(Protocol):
    """Progress of a stage: receives finished steps, a remark, and the total once known."""

    def __call__(self, steps: int, remark: str = "", total: int | None = None) -> None: ...


@runtime_checkable
class Observer(Protocol):
    """Observers receive progress updates."""

    def stage(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Progress]:
        """Context manager of a stage with a number of units; None if unknown."""

    def planned(self, plan: Plan) -> None:
        """Receives the plan, before any work."""

    def told(self, sentence: str) -> None:
        """Receives a message."""


@runtime_checkable
class WarnedObserver(Observer, Protocol):
    """An observer that receives warnings apart, as to show them even if it shows nothing else."""

    def warned(self, sentence: str) -> None:
        """Receives a warning; other observers receive it as a message."""


def _ignored(steps: int, remark: str = "", total: int | None = None) -> None:
    del steps, remark, total


class NullObserver:
    """Ignores progress updates."""

    def stage(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Progress]:
        del name, total, unit
        return nullcontext(_ignored)

    def planned(self, plan: Plan) -> None:
        del plan

    def told(self, sentence: str) -> None:
        del sentence


@dataclass(frozen=True)
class ContainedObserver:
    """An observer that receives each message once, for example not again for every layer.

    Its errors are named after it, except `KeyboardInterrupt`, which stops.
    """

    observer: Observer
    received: set[str] = field(default_factory=set)
    """The messages so far."""

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str) -> Iterator[Progress]:
        """The stage of the observer, whose errors are not those of the work inside it."""
        with ExitStack() as stack:
            with self._called():
                done = stack.enter_context(self.observer.stage(name, total, unit))

            def advance(steps: int, remark: str = "", total: int | None = None) -> None:
                with self._called():
                    done(steps, remark, total)

            yield advance

    def planned(self, plan: Plan) -> None:
        with self._called():
            self.observer.planned(plan)

    def told(self, sentence: str) -> None:
        self._pass_on(sentence, self.observer.told)

    def warned(self, sentence: str) -> None:
        own = self.observer
        self._pass_on(sentence, own.warned if isinstance(own, WarnedObserver) else own.told)

    def _pass_on(self, sentence: str, receive: Callable[[str], None]) -> None:
        if sentence not in self.received:
            self.received.add(sentence)
            with self._called():
                receive(sentence)

    @contextmanager
    def _called(self) -> Iterator[None]:
        """Errors only: an observer may redirect streams for the time of a stage."""
        try:
            yield
        except KeyboardInterrupt as error:
            raise StopRequested from error
        except (SdelensError, OSError):  # a stream may be closed
            raise
        except BaseException as error:
            name = type(self.observer).__name__
            raise BrokenPlugin(f"the observer {name} failed: {words_of(error)}") from error


def at_hand() -> Observer:
    """The observer for the current notebook, from the group ``sdelens.observers``.

    The built-in one is tried first; observers that fail are skipped with a line on stderr.
    """
    known = plugins("observer") if "ipykernel" in sys.modules else {}
    for each in sorted(known.values(), key=lambda plugin: plugin.distribution != OURS):
        try:
            with contained(str(each)):
                found = each.load()()
            if isinstance(found, Observer):
                return found
            said = "it lacks stage, planned or told"
        except SdelensError as error:
            said = message_of(error.__cause__ or error)
        print(f"left out: {each}: {said}", file=sys.stderr)
    return NullObserver()
