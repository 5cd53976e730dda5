"""Analyzers that could not answer, and why."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sdelens.errors import BrokenPlugin, OutOfMemory, SdelensError, disk_is_full, ran_out
from sdelens.store import write_text

TRACEBACK = "traceback.txt"


@dataclass(frozen=True)
class LeftOut:
    """Who could not answer is an error if it was named, else a reason that is kept.

    An analyzer that fails, by no error of sdelens, stops no other: its traceback is written, and
    if it was named `raise_broken` raises in the end.
    """

    named: frozenset[str]
    reasons: dict[str, str] = field(default_factory=dict)
    broken: list[BrokenPlugin] = field(default_factory=list)

    @contextmanager
    def unless(self, label: str, *, named: bool, folder: Path | None = None) -> Iterator[None]:
        """Something that may go wrong; the traceback of what fails goes into the folder."""
        try:
            yield
        except Exception as error:
            ours, full = isinstance(error, SdelensError), disk_is_full(error)
            if full or isinstance(error, OutOfMemory) or (named and (ours or ran_out(error))):
                raise
            said = str(error) if ours else f"{type(error).__name__}: {error}"
            if folder is not None and not ours:
                write_text(folder / TRACEBACK, "".join(traceback.format_exception(error)))
                said += f" (traceback: {folder / TRACEBACK})"
            if not named:
                self.reasons[label] = said
                return
            self.broken.append(BrokenPlugin(f"the analyzer {label} failed: {said}"))
            self.broken[-1].__cause__ = error

    def raise_broken(self) -> None:
        """An error for analyzers that were named and failed; the first one's cause."""
        if not self.broken:
            return
        first, *others = self.broken
        more = "".join(f"; {other}" for other in others)
        raise BrokenPlugin(f"{first}{more}") from first.__cause__
