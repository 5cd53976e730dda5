"""The options of a fit, defined once. Imports no torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from inspect import Parameter, signature
from typing import Any, TypedDict, TypeVar, get_type_hints

from sdelens.errors import UnknownName, UsageError
from sdelens.paths.basis_spec import BasisSpec
from sdelens.registry import plugin
from sdelens.settings import option

MOST_MEMBERS = 10_000
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Options of a fit, with or without a language model."""

    probe: str = option("neural", "neural, linear, token, constant, or a plugin.")
    probe_settings: Mapping[str, Any] = option({}, "Settings of the probe, by name.")
    basis: str = option("standard", "standard, raw, pca:K or whiten:K.")
    center: str = option("all", "Mean to subtract: all (one mean) or position (one per position).")
    ensemble: int = option(0, "Fits to resampled texts, for error bars of coefficients.")
    seed: int = option(0, "Seed of all random numbers.")

    def __post_init__(self) -> None:
        _ = self.basis_spec
        if not (self.ensemble == 0 or 2 <= self.ensemble <= MOST_MEMBERS):
            raise UsageError(
                f"an ensemble has 2 to {MOST_MEMBERS} members, or none (0), got {self.ensemble}"
            )

    @property
    def basis_spec(self) -> BasisSpec:
        """The basis in which the law is fitted."""
        return BasisSpec(self.basis, self.center)


class FitKeywords(TypedDict, total=False):
    """Options as keywords of a function, for type checkers; `FitOptions` has their defaults."""

    probe_settings: Mapping[str, Any]
    basis: str
    center: str
    ensemble: int
    seed: int


def with_options(options: type[FitOptions], keywords: type[Any]) -> Callable[[Function], Function]:
    """Put options with their defaults into the signature of a function, before ``**settings``.

    Help and tab completion show what the function takes; `keywords` is the `TypedDict` of it.
    """
    hints, defaults = get_type_hints(keywords), vars(options())

    def decorate(function: Function) -> Function:
        own = signature(function)
        first = list(own.parameters.values())[:-1]
        more = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=defaults[name], annotation=hint)
            for name, hint in hints.items()
        ]
        settings = Parameter("settings", Parameter.VAR_KEYWORD, annotation=Any)
        function.__signature__ = own.replace(parameters=[*first, *more, settings])  # type: ignore[attr-defined]
        return function

    return decorate


def split_keywords(
    function: Callable[..., Any], probe: object, keywords: Mapping[str, Any]
) -> dict[str, Any]:
    """The options among the keywords of a function, the others as settings of the probe.

    Raises `UnknownName`, with the nearest name, for a keyword that is neither.
    """
    known = {name for name in signature(function).parameters if name != "settings"}
    options = {name: value for name, value in keywords.items() if name in known}
    settings = {name: value for name, value in keywords.items() if name not in known}
    kind = plugin("probe", probe).load() if isinstance(probe, str) else probe
    if is_dataclass(kind):
        known |= {field.name for field in fields(kind) if field.init}
    for name in settings:
        if name not in known:
            raise UnknownName.among("option of a fit", name, known - {"self", "states"})
    return options | {"probe_settings": {**options.get("probe_settings", {}), **settings}}
