"""Layers by name: ``6``, ``0-7``, ``2,5``, ``all``, ``-1``, ``middle``, ``embed``."""

import re
from collections.abc import Sequence

from sdelens.errors import UsageError

Layers = int | str | Sequence[int | str] | None

_RANGE = re.compile(r"(\d+)-(\d+)")
_FORMS = "a number, a range 0-7, a list 2,5, all, -1 for the last, middle, or embed"


def parse_layers(text: str) -> list[tuple[int, int] | str]:
    """Parse a layer setting without a model: ranges, ``all``, ``middle`` and ``embed``."""
    parts: list[tuple[int, int] | str] = []
    for part in (piece.strip() for piece in text.split(",")):
        span = _RANGE.fullmatch(part)
        if part in ("all", "middle", "embed"):
            parts.append(part)
        elif re.fullmatch(r"-?\d+", part):
            parts.append((int(part), int(part)))
        elif span and int(span[1]) <= int(span[2]):
            parts.append((int(span[1]), int(span[2])))
        else:
            raise UsageError(f"--layer must be {_FORMS}; got {text!r}")
    return parts


def resolve_layers(layers: Layers, blocks: int, name: str = "the model") -> tuple[int | str, ...]:
    """Block numbers in increasing order, ``embed`` first; by default the middle block.

    >>> resolve_layers("0-2,-1", blocks=12)
    (0, 1, 2, 11)
    """
    given = "middle" if layers is None else layers
    text = ",".join(map(str, given)) if not isinstance(given, int | str) else str(given)
    numbers: set[int] = set()
    embed = False
    for part in parse_layers(text):
        if part == "embed":
            embed = True
        elif part == "all":
            numbers |= set(range(blocks))
        elif part == "middle":
            numbers.add(blocks // 2)
        else:
            low, high = part[0], part[1]
            numbers |= {_counted(int(k), blocks, name) for k in range(int(low), int(high) + 1)}
    return (*(("embed",) if embed else ()), *sorted(numbers))


def _counted(layer: int, blocks: int, name: str) -> int:
    """The non-negative block number; raises `UsageError` if it is out of range."""
    if not -blocks <= layer < blocks:
        raise UsageError(
            f"{name} has {blocks} blocks, numbered 0 to {blocks - 1} (-1 is the last); got {layer}"
        )
    return layer % blocks
