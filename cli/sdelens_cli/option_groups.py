"""Groups of command-line options: one parameter of a command stands for several options."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, get_type_hints

import typer

FLAGS = {"layers": "--layer"}
"""Settings whose option has a different name."""


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each field of its parameters' dataclasses.

    A parameter is a dataclass, or ``Annotated[dict[str, Any], Job]``, which receives the given
    settings of `Job`, with help and defaults from its fields.
    """
    groups: dict[str, tuple[Any, list[Parameter]]] = {}
    parameters: list[Parameter] = []
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in signature(command).parameters.items():
        hint = hints[name]
        settings = [kind for kind in getattr(hint, "__metadata__", ()) if is_dataclass(kind)]
        if settings:
            groups[name] = _given, settings_of(settings[0])
        elif is_dataclass(hint):
            groups[name] = hint, options_of(hint)
        parameters += groups[name][1] if name in groups else [parameter.replace(annotation=hint)]

    @wraps(command)
    def run(**values: Any) -> None:
        for name, (make, options) in groups.items():
            values[name] = make(**{option.name: values.pop(option.name) for option in options})
        command(**values)

    keyword = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in parameters]
    run.__signature__ = signature(command).replace(parameters=keyword)  # type: ignore[attr-defined]
    return run


def options_of(kind: Any) -> list[Parameter]:
    """The fields of a dataclass of options."""
    hints = get_type_hints(kind, include_extras=True)
    return [
        Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
        for f in fields(kind)
    ]


def settings_of(kind: Any) -> list[Parameter]:
    """An option, by default None, for each text or number among the fields.

    Fields of the class itself come before inherited ones.
    """
    hints, own = get_type_hints(kind), kind.__annotations__
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                hints[field.name] | None,
                typer.Option(*_flag(field.name), help=_help(field)),
            ],
        )
        for field in sorted(fields(kind), key=lambda field: field.name not in own)
        if hints[field.name] in (str, int, float, str | None, int | None)
    ]


def _flag(name: str) -> tuple[str, ...]:
    return (FLAGS[name],) if name in FLAGS else ()


def _help(field: Any) -> str:
    default = "" if field.default is None else f" [{field.default}]"
    return f"{field.metadata['help']}{default}"


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
