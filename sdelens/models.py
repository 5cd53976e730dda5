"""Any language model as a `LanguageModel`."""

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

from sdelens.declarations import problems
from sdelens.errors import BrokenPlugin, UsageError
from sdelens.interfaces import checked, load
from sdelens.protocols import LanguageModel, ModelAdapter, ModelLoader
from sdelens.registry import Plugin, plugins

LOADER = "transformer_lens"
"""The adapter that loads models by name."""
MODULE = "torch"
"""The adapter of any module, at a layer that its user names."""


def language_model(model: Any, **settings: Any) -> LanguageModel:
    """A `LanguageModel` for a name, a folder, or an object of a library that an adapter knows.

    The adapter is found by the root modules of the object's classes, so that only the library that
    its user already imported is used. `settings` are the adapter's: of an object its `tokenizer`,
    and `hook`, the name of the submodule whose output is the one layer.
    """
    if isinstance(model, str | PathLike):
        loader: ModelLoader = load("model", LOADER)
        return loader.load(fspath(model), **settings)
    if isinstance(model, LanguageModel):
        return model
    known = plugins("model")
    for root in _roots(model, settings):
        if root in known:
            adapter: ModelAdapter = checked(known[root])
            return _complete(adapter.adapt(model, **settings))
    if hasattr(model, "card"):
        return _complete(model)
    raise UsageError(
        f"no adapter for a {type(model).__module__}.{type(model).__qualname__}: expected a name, "
        f"a folder, or a model of {', '.join(known)}"
    )


def _complete(model: Any) -> LanguageModel:
    """The model; an error that says what to write where it is not as `LanguageModel` declares."""
    for problem in problems(model, LanguageModel):
        raise BrokenPlugin(f"the language model {type(model).__name__} {problem}")
    found: LanguageModel = model
    return found


def _roots(model: Any, settings: Mapping[str, Any]) -> list[str]:
    """The libraries of an object's classes, nearest first; of a named layer that of modules."""
    roots = [ancestor.__module__.partition(".")[0] for ancestor in type(model).__mro__]
    named = settings.get("hook") is not None
    return [MODULE] if named and MODULE in roots else roots


def adapter_of(model: LanguageModel) -> Plugin | None:
    """The plugin that a model came through; None for a model of its user's own making."""
    return plugins("model").get(model.library)
