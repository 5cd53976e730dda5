"""The losses of a fit, epoch by epoch, as lines of JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sdelens.protocols import Epoch


def history_text(history: Sequence[Epoch]) -> str:
    """One JSON object per line."""
    return "".join(json.dumps(asdict(epoch), sort_keys=True) + "\n" for epoch in history)


def history_of(file: Path) -> tuple[Epoch, ...]:
    """The inverse of `history_text`."""
    return tuple(Epoch(**json.loads(line)) for line in file.read_text().splitlines())
