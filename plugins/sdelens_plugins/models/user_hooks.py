"""The user's own forward hooks, which may change what a model computes, and their names."""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules import module as every

LIBRARIES = ("transformers.", "transformer_lens.", "sdelens_plugins.models.")
"""Libraries whose own module hooks are read-only; users' hooks are in the hook points' lists."""
EVERYWHERE = (every._global_forward_hooks, every._global_forward_pre_hooks)
"""PyTorch's global module hooks."""
ADDRESS = re.compile(r"<(?:bound method|function) (\S+)(?: of .*)? at 0x[0-9a-f]+>")


def hooks_in(model: nn.Module) -> tuple[str, ...]:
    """The user's hooks anywhere in a model and on every module, as ``function at module``."""
    return (*hooks_everywhere(), *hooks_at(model.named_modules()))


def hooks_everywhere() -> Iterator[str]:
    """The user's hooks on every module."""
    hooks = (hook for some in EVERYWHERE for hook in some.values())
    return (f"{function_name(hook)} at every module" for hook in hooks if foreign(hook))


def hooks_at(modules: Iterable[tuple[str, nn.Module]]) -> Iterator[str]:
    """The user's hooks on named modules; those of a hook point are at its own name."""
    for name, module in modules:
        where = getattr(module, "name", None) if hasattr(module, "fwd_hooks") else name
        own = (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
        functions = [hook for hook in own if foreign(hook)]
        functions += [added(module, handle) for handle in getattr(module, "fwd_hooks", ())]
        yield from (f"{function_name(hook)} at {where or 'the model'}" for hook in functions)


def added(point: Any, handle: Any) -> Any:
    """The function that a user added to a hook point of TransformerLens, which wraps it."""
    known = getattr(handle, "user_hook", None)
    # before TransformerLens 4 only the name of the wrapper has that of the function
    return point._forward_hooks.get(handle.hook.id) if known is None else known


def foreign(hook: Any) -> bool:
    """Whether a hook is not from a known library."""
    return not str(getattr(hook, "__module__", "")).startswith(LIBRARIES)


def function_name(hook: Any) -> str:
    """The name of a function, of a method or of a callable's class.

    >>> function_name(partial(max, 1)), function_name(lambda x: x)
    ('max', 'lambda')
    """
    inner = hook.func if isinstance(hook, partial) else hook
    name = str(getattr(inner, "__name__", None) or type(inner).__name__)
    found = ADDRESS.search(name)
    return (found[1] if found else name).rpartition(".")[2].strip("<>")
