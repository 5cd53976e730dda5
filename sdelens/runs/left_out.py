"""Analyzers that could not run, and the reasons."""

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
    """Collects analyzers that could not run; raises only for those named by the user.

    An unexpected exception of an analyzer does not stop the others: its traceback is saved, and
    `raise_broken` raises at the end if the analyzer was named.
    """

    named: frozenset[str]
    reasons: dict[str, str] = field(default_factory=dict)
    broken: list[BrokenPlugin] = field(default_factory=list)

    @contextmanager
    def unless(self, label: str, *, named: bool, folder: Path | None = None) -> Iterator[None]:
        """A block that may fail; the traceback of a failure is written to the folder."""
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
        """Raise `BrokenPlugin` for named analyzers that failed, caused by the first failure."""
        if not self.broken:
            return
        first, *others = self.broken
        more = "".join(f"; {other}" for other in others)
        raise BrokenPlugin(f"{first}{more}") from first.__cause__
