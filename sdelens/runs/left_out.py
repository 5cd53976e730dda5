"""Analyzers that could not run, and the reasons."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sdelens.containment.contained import Unrestorable
from sdelens.errors import (
    BrokenPlugin,
    OutOfMemory,
    SdelensError,
    disk_fails,
    ran_out,
    scarcity,
    traceback_of,
    words_of,
)
from sdelens.store import write_text

TRACEBACK = "traceback.txt"


@dataclass(frozen=True)
class LeftOut:
    """Collects analyzers that could not run; raises only for those named by the user.

    A failing analyzer does not stop the others, unless memory, disk or open files are scarce, the
    disk has a fault, or a change of shared state cannot be undone. The traceback of an unexpected
    exception is saved, and `raise_failures` raises at the end. What tried to end the process is
    raised as well, whether it was named or not.
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
            scarce = scarcity(error) and (named or not too_large)
            if scarce or disk_fails(error) or isinstance(error, Unrestorable):
                raise
            failure = error if isinstance(error, SdelensError) else BrokenPlugin(words_of(error))
            cause = error.__cause__ if failure is error else error
            if isinstance(failure, BrokenPlugin) and cause is not None:
                reason = str(failure)
                if trace is not None:
                    write_text(trace, traceback_of(cause))
                    reason += f" (traceback: {trace})"
                failure = BrokenPlugin(reason)
                failure.__cause__ = cause
            ended = cause is not None and not isinstance(cause, Exception)
            if named or ended:
                self.failures[label] = failure
            if not named:
                self.reasons[label] = _reason(label, failure)

    @property
    def broken(self) -> dict[str, str]:
        """Why named analyzers failed that were asked for what they should be able to answer."""
        return {
            label: _reason(label, error)
            for label, error in self.failures.items()
            if isinstance(error, BrokenPlugin)
        }

    def raise_failures(self) -> None:
        """Raise an error of a named analyzer, with the messages of all.

        It is that of the first plugin that failed or, if none did, the first error.
        """
        failures = list(self.failures.values())
        if not failures:
            return
        first = next((one for one in failures if isinstance(one, BrokenPlugin)), failures[0])
        if len(failures) == 1:
            raise first
        messages = dict.fromkeys(map(str, failures))
        # a plugin's own kind of error may take other arguments
        kind = next(k for k in type(first).__mro__ if k.__module__ == SdelensError.__module__)
        raise kind("; ".join(messages)) from first.__cause__


def _reason(label: str, failure: SdelensError) -> str:
    return str(failure).removeprefix(f"the analyzer {label} failed: ")
