"""Adapters for language models of any supported library."""

from collections.abc import Set
from inspect import Parameter, signature
from os import PathLike, fspath
from typing import Any

from sdelens.containment.contained import contained, restored
from sdelens.declarations import problems
from sdelens.errors import BrokenPlugin, UsageError
from sdelens.interfaces import checked
from sdelens.model_protocols import (
    ModelCatalogue,
    ModelLoader,
    ModelPreview,
    ModelPreviewer,
)
from sdelens.protocols import LanguageModel, ModelAdapter
from sdelens.registry import OURS, Plugin, plugin_with, plugins


def language_model(model: Any, **settings: Any) -> LanguageModel:
    """A `LanguageModel` for a name, a folder, or a model object of a supported library.

    The adapter is found by the root modules of the object's classes, nearest class first, so only
    libraries that are already imported are used. It must accept the `settings`: for an object its
    `tokenizer`, and `hook`, the name of the submodule whose output is its only layer.
    """
    if isinstance(model, str | PathLike):
        found = plugin_with("model", "load")
        loader: ModelLoader = checked(found)
        # libraries of built-in adapters set variables of the environment when they are imported
        with contained(f"the model adapter {found.name}", quiet=found.distribution == OURS):
            return _complete(loader.load(fspath(model), **settings))
    if isinstance(model, LanguageModel):
        return model
    known = plugins("model")
    for root in (ancestor.__module__.partition(".")[0] for ancestor in type(model).__mro__):
        if root in known:
            adapter: ModelAdapter = checked(known[root])
            if _accepts(adapter, settings.keys()):
                # errors and interrupts in the user's own model are the user's
                with restored(str(known[root]), quiet=known[root].distribution == OURS):
                    return _complete(adapter.adapt(model, **settings))
    if hasattr(model, "card"):
        return _complete(model)
    raise UsageError(
        f"no adapter for a {type(model).__module__}.{type(model).__qualname__}: expected a name, "
        f"a folder, or a model of {', '.join(known)}"
    )


def model_preview(name: str, **settings: Any) -> ModelPreview | None:
    """The sizes of a model by name; None if its loader cannot tell without reading the weights."""
    loader = checked(plugin_with("model", "load"))
    return loader.preview(name, **settings) if isinstance(loader, ModelPreviewer) else None


def _accepts(adapter: ModelAdapter, settings: Set[str]) -> bool:
    """Whether `adapt` takes these settings, by name or as ``**settings``."""
    known = signature(adapter.adapt).parameters
    any_name = any(each.kind is Parameter.VAR_KEYWORD for each in known.values())
    return any_name or settings <= known.keys()


def _complete(model: Any) -> LanguageModel:
    """The model; raises `BrokenPlugin` unless it implements `LanguageModel`."""
    for problem in problems(model, LanguageModel):
        raise BrokenPlugin(f"the language model {type(model).__name__} {problem}")
    found: LanguageModel = model
    return found


def adapter_of(model: LanguageModel) -> Plugin | None:
    """The adapter plugin of a model; None for third-party models."""
    return plugins("model").get(model.library)


def model_catalogue() -> ModelCatalogue:
    """The loader that lists and fetches open models."""
    loader: ModelCatalogue = checked(plugin_with("model", "catalogue"))
    return loader
