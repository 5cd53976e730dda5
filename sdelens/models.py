"""Any language model as a `LanguageModel`."""

from os import PathLike, fspath
from typing import Any

from sdelens.errors import UsageError
from sdelens.protocols import LanguageModel
from sdelens.registry import load, plugins

LOADER = "transformer_lens"
"""The adapter that loads models by name."""


def language_model(model: Any, **settings: Any) -> LanguageModel:
    """A `LanguageModel` for a name, a folder, or an object of a library that an adapter knows.

    The adapter is found by the root modules of the object's classes, so that only the library that
    its user already imported is used.
    """
    if isinstance(model, str | PathLike):
        loaded: LanguageModel = load("model", LOADER).load(fspath(model), **settings)
        return loaded
    if isinstance(model, LanguageModel):
        return model
    known = plugins("model")
    for ancestor in type(model).__mro__:
        root = ancestor.__module__.partition(".")[0]
        if root in known:
            adapted: LanguageModel = known[root].load().adapt(model, **settings)
            return adapted
    raise UsageError(
        f"no adapter for a {type(model).__module__}.{type(model).__qualname__}: expected a name, "
        f"a folder, or a model of {', '.join(known)}"
    )
