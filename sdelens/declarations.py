"""Checks a class or an instance against a protocol of `sdelens.protocols`."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from inspect import Parameter, isroutine, signature
from typing import Any, ClassVar, Generic, Protocol, get_args, get_origin, get_type_hints

from sdelens import protocols
from sdelens.settings import fits, named

CHOICES: Mapping[str, tuple[str, ...]] = {
    "needs": protocols.NEEDS,
    "wants": protocols.NEEDS,
    "scope": protocols.SCOPES,
    "cost": protocols.COSTS,
}
"""Members with a fixed set of values."""


def problems(found: Any, protocol: Any) -> Iterator[str]:
    """Missing or invalid members, each as the end of a sentence that states what to write.

    >>> next(problems(type("Mine", (), {}), protocols.Reporter))
    'has no render: write def render(self, report, folder)'
    """
    for name, member in members(protocol).items():
        if not has(found, name):
            yield f"has no {name}: write {_example(protocol, name, member)}"
        elif isroutine(member):
            if not callable(getattr(found, name)):
                yield f"has no method {name}: write {_example(protocol, name, member)}"
        elif (value := _value(found, name)) is not None and not _right(name, value, member):
            what = named(_type(member))
            what += f" out of {', '.join(CHOICES[name])}" if name in CHOICES else ""
            yield (
                f"has {name} = {value!r}, which must be {what}: "
                f"write {_example(protocol, name, member)}"
            )


def members(protocol: Any) -> dict[str, Any]:
    """The members of a protocol and its bases: types, properties and functions."""
    found: dict[str, Any] = {}
    for part in reversed(protocol.__mro__):
        if part not in (object, Protocol, Generic):
            public = {name: m for name, m in vars(part).items() if not name.startswith("_")}
            methods = {n: getattr(m, "__func__", m) for n, m in public.items() if _is_method(m)}
            found |= get_type_hints(part) | methods
    return found


def class_attributes(found: Any, protocol: Any) -> dict[str, Any]:
    """The class attributes of a plugin that the protocol declares."""
    hints = members(protocol).items()
    return {name: getattr(found, name) for name, hint in hints if get_origin(hint) is ClassVar}


def has(found: Any, name: str) -> bool:
    """Whether a class or an instance has a member, including dataclass fields without default."""
    named_fields = fields(found) if is_dataclass(found) else ()
    return hasattr(found, name) or name in {field.name for field in named_fields}


def _is_method(member: Any) -> bool:
    return isroutine(member) or isinstance(member, property | classmethod)


def _value(found: Any, name: str) -> Any:
    """The value of a member; None if it is only set on instances."""
    value = getattr(found, name, None)
    return None if isinstance(found, type) and hasattr(value, "__get__") else value


def _type(member: Any) -> Any:
    if isinstance(member, property):
        return get_type_hints(member.fget)["return"]
    return get_args(member)[0] if get_origin(member) is ClassVar else member


def _right(name: str, value: Any, member: Any) -> bool:
    if not fits(value, _type(member)):
        return False
    listed = {value} if isinstance(value, str) else value
    return name not in CHOICES or set(listed) <= set(CHOICES[name])


def _example(protocol: Any, name: str, member: Any) -> str:
    """An example of a line that declares the member."""
    if isroutine(member):
        return f"def {name}({', '.join(_parameters(member))})"
    if get_origin(member) is ClassVar:
        return f"{name} = {getattr(protocol, name)!r}"
    return f"{name}: {named(_type(member))}, a field or a property"


def _parameters(function: Any) -> Iterator[str]:
    """The parameter names of a function, with a star before keyword-only ones."""
    starred = False
    for name, parameter in signature(function).parameters.items():
        if parameter.kind is Parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        yield f"**{name}" if parameter.kind is Parameter.VAR_KEYWORD else name
