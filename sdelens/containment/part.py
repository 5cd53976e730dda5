"""A part of the state that plugins share."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


def _always(now: Any, before: Any) -> bool:
    del now, before
    return True


@dataclass(frozen=True, eq=False)
class Part:
    """How a part of the state is called, read, restored and compared."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    same: Callable[[Any, Any], bool] = operator.eq
    """Compares the value now with the value before."""
    by_plugin: Callable[[Any, Any], bool] = _always
    """Whether a change, of the value now from that before, can be the plugin's own."""


def attribute(owner: Any, name: str, label: str) -> Part:
    """An attribute of an object, compared by identity."""
    return Part(
        label, lambda: getattr(owner, name), lambda v: setattr(owner, name, v), operator.is_
    )


def same_objects(now: Mapping[Any, Any], before: Mapping[Any, Any]) -> bool:
    """Whether two mappings hold the same objects under the same keys, in the same order."""
    return [*now] == [*before] and all(now[key] is value for key, value in before.items())
