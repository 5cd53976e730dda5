"""The losses of a fit, epoch by epoch, as lines of JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sdelens.json_text import parsed
from sdelens.protocols import Epoch
from sdelens.schema import checked, damaged, instance
from sdelens.store import read_text


def history_text(history: Sequence[Epoch]) -> str:
    """One JSON object per line."""
    return "".join(json.dumps(asdict(epoch), sort_keys=True) + "\n" for epoch in history)


def history_of(file: Path) -> tuple[Epoch, ...]:
    """The inverse of `history_text`; raises `UsageError` with the line that is damaged."""
    lines = read_text(file).splitlines()
    return tuple(_epoch(line, f"line {n}", file) for n, line in enumerate(lines, start=1))


def _epoch(line: str, place: str, file: Path) -> Epoch:
    try:
        epoch = instance(Epoch)(parsed(line, finite=False))  # a loss may be NaN
    except ValueError as error:
        damaged(file, place, f"must be the losses of an epoch ({error})")
    checked(Epoch, epoch, f"{file}, {place}")
    return epoch
