"""What plugins are given and may not change: tensors, and the modules of a model."""

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sdelens.containment.part import Part, same_objects

KEPT = 256 * 2**20
"""Bytes of tensors that are copied, so that changes can be undone; others are only noticed."""
CONTENTS = ("_parameters", "_buffers", "_modules", "fwd_hooks", "bwd_hooks")
"""Dictionaries and lists of a module that no analysis changes, besides its hooks."""
VALUES = ("training", "forward")
"""Attributes of a module that no analysis changes."""
LOST = object()


def parts_of(given: Any) -> tuple[Part, ...]:
    """The parts of a study, or of anything else, that a plugin must leave as they were."""
    held = list(dict.fromkeys(_held(given, set())))
    tensors = [one for one in held if isinstance(one, Tensor) and _is_plain(one)]
    modules = [one for one in held if isinstance(one, nn.Module)]
    return (
        Part("hooks or modes of the model", lambda: _modes(modules), _set_modes, _same_modes),
        Part("what it was given to read", lambda: _values(tensors), _set_values, _same_values),
    )


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor holds values that can be compared."""
    return tensor.layout == torch.strided and not (tensor.is_meta or tensor.is_quantized)


def _held(value: Any, seen: set[int]) -> Iterator[Tensor | nn.Module]:
    """All tensors and modules in a value: in dataclasses, containers and models."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, nn.Module):
        for module in value.modules():
            yield module
            yield from (*module.parameters(recurse=False), *module.buffers(recurse=False))
    elif isinstance(value, Mapping):
        yield from (held for one in value.values() for held in _held(one, seen))
    elif isinstance(value, list | tuple):
        yield from (held for one in value for held in _held(one, seen))
    elif is_dataclass(value) or hasattr(type(value), "card"):
        fields = getattr(value, "__dict__", {})
        yield from (held for one in fields.values() for held in _held(one, seen))


def _modes(modules: list[nn.Module]) -> list[tuple[Any, ...]]:
    """Hooks and modes of modules, and which of their parameters have gradients."""
    return [(one, dict(_contents(one)), _flags(one), _gradients(one)) for one in modules]


def _contents(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if name.endswith("hooks") and isinstance(value, dict):
            yield name, {k: hook for k, hook in value.items() if not _of_library(module, hook)}
        elif name in CONTENTS:
            yield name, value.copy()


def _of_library(module: nn.Module, hook: Any) -> bool:
    """Whether a hook was registered by the library of a module, some of which do so on first use.

    Hook points wrap hooks of others, and are therefore watched as a whole.
    """
    root, own = (str(one.__module__).partition(".")[0] for one in (hook, type(module)))
    return root == own and not hasattr(module, "fwd_hooks")


def _flags(module: nn.Module) -> dict[str, Any]:
    return {name: vars(module).get(name, LOST) for name in VALUES}


def _gradients(module: nn.Module) -> dict[nn.Parameter, tuple[bool, Tensor | None]]:
    return {p: (p.requires_grad, p.grad) for p in module.parameters(recurse=False)}


def _same_modes(now: list[Any], before: list[Any]) -> bool:
    return all(
        flags == flags0
        and contents.keys() == contents0.keys()
        and all(_same_contents(contents[name], value) for name, value in contents0.items())
        and same_objects(_grads(gradients), _grads(gradients0))
        for (_, contents, flags, gradients), (_, contents0, flags0, gradients0) in zip(
            now, before, strict=True
        )
    )


def _grads(gradients: Mapping[nn.Parameter, tuple[bool, Tensor | None]]) -> dict[Any, Any]:
    return {(p, k): value for p, pair in gradients.items() for k, value in enumerate(pair)}


def _same_contents(now: Any, before: Any) -> bool:
    if isinstance(before, list):
        return [*map(id, now)] == [*map(id, before)]
    return same_objects(now, before)


def _set_modes(before: list[Any]) -> None:
    for module, contents, flags, gradients in before:
        for name, value in contents.items():
            current = vars(module)[name]
            if isinstance(value, list):
                current[:] = value
                continue
            hooks = current.items() if name.endswith("hooks") else ()
            library = {k: hook for k, hook in hooks if _of_library(module, hook)}
            current.clear()
            current.update(value | library)
        for name, value in flags.items():
            vars(module).pop(name, None)
            if value is not LOST:
                vars(module)[name] = value
        for parameter, (requires_grad, grad) in gradients.items():
            parameter.requires_grad_(requires_grad)
            parameter.grad = grad


@torch.no_grad()
def _values(tensors: list[Tensor]) -> list[tuple[Tensor, Tensor, bool]]:
    """Each tensor with a copy, or with sums of its values once the copies are too large."""
    found, room = [], KEPT
    for tensor in tensors:
        room -= tensor.nbytes
        found.append((tensor, tensor.clone() if room >= 0 else _sums(tensor), room >= 0))
    return found


def _sums(tensor: Tensor) -> Tensor:
    flat = tensor.detach().flatten()
    flat = flat if flat.is_floating_point() else flat.double()
    return torch.stack([flat.sum(), flat.norm(), flat[::2].sum()])


def _same_values(now: list[Any], before: list[Any]) -> bool:
    return all(
        _equal(kept, kept0) for (_, kept, _), (_, kept0, _) in zip(now, before, strict=True)
    )


def _equal(one: Tensor, other: Tensor) -> bool:
    if torch.equal(one, other):
        return True
    if one.shape != other.shape:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())  # NaN included


@torch.no_grad()
def _set_values(before: list[Any]) -> None:
    for tensor, kept, whole in before:
        if not whole and not _equal(_sums(tensor), kept):
            raise ValueError("it is too large to have been copied")
        if whole and not _equal(tensor, kept):
            tensor.copy_(kept)
