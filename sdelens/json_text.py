"""JSON from files that may be damaged or hostile. Imports no torch."""

import json
import math
from typing import Any

DEEPEST = 64
"""Maximum depth of nesting; our own files have at most ten levels."""


def parsed(text: str, *, finite: bool = True) -> Any:
    """The value of a JSON text; raises `ValueError` with the reason if it is not valid.

    Deep nesting is an error, unlike in Python's `json`, and so are NaN and infinity if `finite`.

    >>> parsed("[" * 10_000)
    Traceback (most recent call last):
    ValueError: nested more than 64 levels deep
    """
    number = _finite if finite else float
    try:
        value = json.loads(text, parse_constant=number, parse_float=number)
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} levels deep") from None
    level, depth = _inner([value]), 0
    while level := [inner for outer in level for inner in _inner(outer)]:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} levels deep")
    return value


def _inner(value: Any) -> list[Any]:
    """The elements of a list or an object that may have elements themselves."""
    values = value.values() if isinstance(value, dict) else value
    return [each for each in values if isinstance(each, dict | list)]


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return number
