"""A plugin's settings: the fields of its frozen dataclass, as JSON scalars."""

import json
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from sdelens.containment.contained import contained
from sdelens.errors import BrokenPlugin, UnknownName, UsageError, shortened

T = TypeVar("T")


def option(default: T, text: str) -> T:
    """A field with its default and a sentence of help for the command line."""
    made: Any = field(default=default, metadata={"help": text})
    if isinstance(default, dict):  # each instance has its own
        made = field(default_factory=default.copy, metadata={"help": text})
    return cast(T, made)


def parse_assignments(pairs: list[str]) -> dict[str, dict[str, Any]]:
    """Parse assignments such as ``probe.width=256``, grouped by plugin.

    >>> parse_assignments(["probe.width=256", "probe.noise=correlated:32"])
    {'probe': {'width': 256, 'noise': 'correlated:32'}}
    """
    grouped: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        path, equals, text = pair.partition("=")
        kind, dot, name = path.partition(".")
        if not (equals and dot and kind and name):
            raise UsageError(f"--set expects KIND.NAME=VALUE, as in probe.width=256; got {pair!r}")
        grouped.setdefault(kind, {})[name] = _scalar(text)
    return grouped


def _scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def build(plugin: type[Any], settings: Mapping[str, Any], label: str) -> Any:
    """Build a plugin with these settings; raises an error for unknown or invalid ones."""
    if not is_dataclass(plugin):
        raise BrokenPlugin(
            f"{label} is not a dataclass: put @dataclass(frozen=True) above class "
            f"{plugin.__name__}"
        )
    with _calling(plugin, label):
        hints = get_type_hints(plugin)
    known = [field.name for field in fields(plugin) if field.init]
    fitting = {}
    for name, value in settings.items():
        if name not in known:
            raise UnknownName.among(f"setting of {label}", name, known)
        hint = hints[name]
        if not fits(value, hint):
            raise UsageError(f"{label}.{name} must be {named(hint)}, got {shortened(value)}")
        if name != "seed" and not moderate(value):
            raise UsageError(
                f"{label}.{name} must be a finite number of 64 bits, got {shortened(value)}"
            )
        kinds = get_args(hint) or (hint,)
        real = float in kinds and int not in kinds and type(value) is int
        fitting[name] = float(value) if real else value
    for each in fields(plugin):
        if each.init and each.name not in fitting and each.default is each.default_factory:
            raise UsageError(f"{label} needs the setting {each.name}: give it a value")
    with _calling(plugin, label):
        return plugin(**fitting)


def _calling(plugin: type[Any], label: str) -> AbstractContextManager[None]:
    """The call of a plugin; options of the core are none, and must not import torch."""
    own = plugin.__module__.startswith("sdelens.")
    return nullcontext() if own else contained(label)


def named(hint: Any) -> str:
    """A type in words: the choices of a Literal, or else its name."""
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    return hint.__name__ if isinstance(hint, type) else str(hint)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value has a type: a class, a Literal, a union, a tuple or a set."""
    origin = get_origin(hint)
    if origin is Literal:
        return value in get_args(hint)
    if origin in (Union, UnionType):
        return any(fits(value, option) for option in get_args(hint))
    if origin in (tuple, frozenset, list):
        return isinstance(value, origin) and all(fits(v, get_args(hint)[0]) for v in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    named_class = isinstance(hint, type) and hint is not Any  # a class since Python 3.11
    return isinstance(value, hint) if named_class else True


def moderate(value: Any) -> bool:
    """Whether a value is no number, or one that JSON and torch can represent."""
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def described(plugin: Any) -> dict[str, Any]:
    """All settings of a plugin, for JSON."""
    return {field.name: getattr(plugin, field.name) for field in fields(plugin) if field.init}


def require_at_least(plugin: Any, **minima: int) -> None:
    """Raise `UsageError` for the first of these settings that is below its minimum, or NaN.

    None, which stands for a choice of the plugin, is allowed.
    """
    for name, least in minima.items():
        value = getattr(plugin, name)
        if value is not None and not value >= least:
            raise UsageError(f"{name} must be at least {least}, got {value}")
