"""Global state of imported modules: where they are searched, their entries, their functions."""

import sys
from collections.abc import Iterator, Mapping
from operator import is_
from pathlib import Path
from types import ModuleType
from typing import Any

from sdelens.containment.exits import ENDS
from sdelens.containment.part import Part

LIBRARIES = (
    *("torch", "torch.nn.functional", "torch.nn.init", "torch.linalg", "torch.fft"),
    *("torch.special", "torch.autograd", "torch.distributions", "torch.random"),
    *("numpy", "numpy.linalg", "numpy.fft", "numpy.random"),
    *("scipy.linalg", "scipy.special", "scipy.stats", "scipy.optimize"),
    *("math", "cmath", "random", "statistics", "json", "copy", "time", "os", "posixpath"),
)
"""Modules whose functions and classes are watched, besides those of sdelens."""
CLASSES = (("torch", "Tensor"), ("torch", "Generator"), ("torch.nn", "Module"))
"""Classes whose methods are watched."""
OURS = ("sdelens.", "sdelens_plugins.")
ABSENT = object()

Attributes = Mapping[str, Any]


def _search_path() -> tuple[list[str], list[str]]:
    return sys.path, [*sys.path]


def _same_path(now: tuple[list[str], list[str]], before: tuple[list[str], list[str]]) -> bool:
    """Libraries append folders of their own, which hide no module."""
    return now[0] is before[0] and now[1][: len(before[1])] == before[1]


def _set_path(before: tuple[list[str], list[str]]) -> None:
    sys.path, rows = before
    sys.path[:] = rows


def _same_entries(now: Attributes, before: Attributes) -> bool:
    """More modules are no change."""
    return all(map(is_, map(now.get, before), before.values()))


def _functions() -> dict[Any, Attributes]:
    """The attributes of watched modules and classes."""
    return {owner: dict(vars(owner)) for owner in _owners()}


def _owners() -> Iterator[Any]:
    modules = sys.modules
    ours = [name for name in [*modules] if name.startswith(OURS)]
    known = (modules.get(name) for name in (*LIBRARIES, *ours))
    yield from (module for module in known if isinstance(module, ModuleType))
    yield from (getattr(modules[name], cls) for name, cls in CLASSES if name in modules)


def _same_functions(now: Mapping[Any, Attributes], before: Mapping[Any, Attributes]) -> bool:
    return not any(_changed(owner, now[owner], known) for owner, known in before.items())


def _changed(owner: Any, now: Attributes, before: Attributes) -> list[str]:
    """Functions and classes that were replaced, and inherited methods that were hidden."""
    if [*map(id, now.values())] == [*map(id, before.values())]:
        return []
    found = [name for name, old in before.items() if now.get(name) is not old]
    if isinstance(owner, type):
        found += [name for name in now.keys() - before.keys() if hasattr(owner.__base__, name)]
    return [
        name
        for name in found
        if (old := before.get(name, ABSENT)) is ABSENT
        or (callable(old) and name not in ENDS and not _wrapped(owner, old, now.get(name)))
    ]


def _wrapped(owner: Any, old: Any, now: Any) -> bool:
    """Whether the library itself wrapped its function, as torch does when a part is imported."""
    code, file = getattr(now, "__code__", None), getattr(owner, "__file__", None)
    if code is None or file is None or getattr(now, "__wrapped__", None) is not old:
        return False
    return Path(code.co_filename).is_relative_to(Path(file).parent)


def _set_functions(before: Mapping[Any, Attributes]) -> None:
    for owner, known in before.items():
        for name in _changed(owner, vars(owner), known):
            if name in known:
                setattr(owner, name, known[name])
            else:
                delattr(owner, name)


MODULES = (
    Part("sys.path", _search_path, _set_path, _same_path),
    Part("sys.modules", sys.modules.copy, sys.modules.update, _same_entries),
    Part("functions of other modules", _functions, _set_functions, _same_functions),
)
