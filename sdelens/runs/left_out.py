"""Analyzers that could not run, and the reasons."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sdelens.errors import BrokenPlugin, OutOfMemory, SdelensError, ran_out, scarcity
from sdelens.store import write_text

TRACEBACK = "traceback.txt"


@dataclass(frozen=True)
class LeftOut:
    """Collects analyzers that could not run; raises only for those named by the user.

    A failing analyzer does not stop the others, unless memory, disk or open files are scarce. The
    traceback of an unexpected exception is saved, and `raise_failures` raises at the end.
    """

    named: frozenset[str]
    reasons: dict[str, str] = field(default_factory=dict)
    """Why analyzers that were not named could not run."""
    failures: dict[str, SdelensError] = field(default_factory=dict)
    """Errors of analyzers that were named."""

    @contextmanager
    def unless(self, label: str, *, named: bool, trace: Path | None = None) -> Iterator[None]:
        """A block that may fail; the traceback of a failure is written to the file `trace`."""
        try:
            yield
        except Exception as error:
            too_large = ran_out(error) and not isinstance(error, OutOfMemory)
            if scarcity(error) and (named or not too_large):
                raise
            if isinstance(error, SdelensError):
                reason, failure = str(error), error
            else:
                reason = f"{type(error).__name__}: {error}"
                if trace is not None:
                    write_text(trace, "".join(traceback.format_exception(error)))
                    reason += f" (traceback: {trace})"
                failure = BrokenPlugin(f"the analyzer {label} failed: {reason}")
                failure.__cause__ = error
            if named:
                self.failures[label] = failure
            else:
                self.reasons[label] = reason

    def raise_failures(self) -> None:
        """Raise the first error of a named analyzer, with the messages of all."""
        if not self.failures:
            return
        first, *others = self.failures.values()
        if not others:
            raise first
        messages = dict.fromkeys(str(failure) for failure in (first, *others))
        raise type(first)("; ".join(messages)) from first.__cause__
