"""Checks a value read from a file against a schema: a pydantic model, or a dataclass.

Schemas are strict: a number in quotes is not a number, and true is not 1. The values themselves
are not changed.
"""

import reprlib
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import cache
from os import PathLike
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sdelens.errors import UsageError

T = TypeVar("T")
STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True, revalidate_instances="always")
Count = Annotated[int, Field(ge=0, le=2**40)]
"""A number of things that can exist on a disk."""


class Schema(BaseModel):
    """Base class of the schemas of files; further fields are those of a later version."""

    model_config = STRICT | ConfigDict(extra="allow")


class Damaged(UsageError):
    """A field of a file is not what it must be; `problem` says what is, without the file."""

    def __init__(self, file: PathLike[str] | str, problem: str) -> None:
        super().__init__(
            f"{file}: {problem}: the file was damaged or edited; restore it, or fit or analyze "
            "again"
        )
        self.problem = problem


def checked(kind: Any, value: Any, file: PathLike[str] | str) -> Any:
    """The value as a `kind`; raises `Damaged` with the file, the field and what is expected."""
    try:
        return _adapter(kind).validate_python((value,))[0]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"][1:])
        damaged(file, place.lstrip("."), *_words(first))


def damaged(
    file: PathLike[str] | str, field: str, expected: str, received: object = ""
) -> NoReturn:
    """Raise `Damaged` for a field of a file."""
    got = f", got {_SHORT.repr(received)}" if received != "" else ""
    where = ascii(field)[1:-1]
    raise Damaged(file, f"{where}{' ' if where else ''}{expected}{got}")


def instance(kind: type[T]) -> Callable[[Any], T]:
    """A function that makes a dataclass of a JSON object with exactly its fields."""

    def made(value: Any) -> T:
        if isinstance(value, kind):
            return value
        if not isinstance(value, dict):
            raise ValueError(f"must be an object, the fields of {kind.__name__}")
        own = fields(kind)  # type: ignore[arg-type]
        needed = {f.name for f in own if f.default is f.default_factory is MISSING}
        if missing := sorted(needed - value.keys()):
            raise ValueError(f"must have the field {missing[0]}")
        if unknown := sorted(value.keys() - {f.name for f in own}):
            raise ValueError(f"must not have the field {unknown[0]!a}")
        try:
            return kind(**value)
        except TypeError as error:  # raised where shapes are checked, as in tests
            raise ValueError(
                f"must be a {kind.__name__} ({str(error).partition(chr(10))[0]})"
            ) from None

    return made


@cache
def _adapter(kind: Any) -> Any:
    # a dataclass takes the configuration of what it is in
    return TypeAdapter(tuple[kind], config=STRICT)


def _words(error: Any) -> tuple[str, object]:
    """What is expected and what was received."""
    if error["type"] == "missing":
        return "is missing", ""
    said = error["msg"].removeprefix("Value error, ")
    for begun in ("Input should ", "Value should ", "Tuple should ", "List should "):
        said = said.replace(begun, "must ", 1) if said.startswith(begun) else said
    plain = error["type"] == "value_error"
    return said[:1].lower() + said[1:], "" if plain else error["input"]


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 40
