"""Plugins without a distribution: a Python file, or a class in a notebook.

::

    @sdelens.analyzer("speed")
    @dataclass(frozen=True)
    class SpeedAnalyzer: ...
"""

import inspect
import linecache
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from sdelens.containment.contained import contained
from sdelens.errors import UsageError
from sdelens.registry import Plugin, forget, register, registered

Class = TypeVar("Class", bound=type)
FILE = "file"
"""The version of plugins in files."""
SESSION = "this session"
"""The distribution of plugins defined in a notebook or an interpreter."""


def analyzer(name: str) -> Callable[[Class], Class]:
    """Register the decorated class as an analyzer of that name, until the process ends.

    Registering a name again replaces the class, so notebook cells can be run repeatedly. Raises
    `UsageError` for the name of a built-in analyzer.
    """
    return _decorator("analyzer", name)


def probe(name: str) -> Callable[[Class], Class]:
    """Register the decorated class as a probe of that name, as in `analyzer`."""
    return _decorator("probe", name)


def source(name: str) -> Callable[[Class], Class]:
    """Register the decorated class as a source of that name, as in `analyzer`."""
    return _decorator("source", name)


def reporter(name: str) -> Callable[[Class], Class]:
    """Register the decorated class as a reporter of that name, as in `analyzer`."""
    return _decorator("reporter", name)


def noise(name: str) -> Callable[[Class], Class]:
    """Register the decorated class as a noise family, for ``noise=NAME``, as in `analyzer`."""
    return _decorator("noise", name)


def _decorator(kind: str, name: str) -> Callable[[Class], Class]:
    if not isinstance(name, str):
        raise UsageError(f'@sdelens.{kind} needs a name: write @sdelens.{kind}("name")')

    def decorate(kept: Class) -> Class:
        distribution, version, digest = _whence(kept)
        target = f"{kept.__module__}:{kept.__qualname__}"
        register(Plugin(kind, name, distribution, version, target, lambda: kept, digest))
        return kept

    return decorate


def _whence(kept: type) -> tuple[str, str, str | None]:
    """The file of a class, or the session, with the hash of its source."""
    module = sys.modules.get(kept.__module__)
    file = getattr(module, "__file__", None)
    if file and Path(file).is_file():
        known: bytes | None = getattr(module, "__source__", None)
        text = Path(file).read_bytes() if known is None else known
        return Path(file).name, FILE, sha256(text).hexdigest()
    return SESSION, "", _cell(kept)


def _cell(kept: type) -> str | None:
    """The hash of the notebook cell that defines a class; None if it is not available."""
    imported = {getattr(module, "__file__", None) for module in [*sys.modules.values()]}
    for part in vars(kept).values():
        code = getattr(inspect.unwrap(part), "__code__", None)
        # a method may be wrapped by a library's decorator
        if code is None or code.co_filename in imported:
            continue
        if lines := linecache.getlines(code.co_filename):
            return sha256("".join(lines).encode()).hexdigest()
    return None


def load_file(file: Path) -> tuple[Plugin, ...]:
    """Execute a file and return the plugins that it registered.

    The hash is that of the executed source. Raises `UsageError` if the file does not exist or
    registers nothing, and `BrokenPlugin` if it raises; then nothing remains registered.
    """
    before = registered()
    execute(file)
    found = tuple(p for key, p in registered().items() if before.get(key) is not p)
    if not found:
        raise UsageError(
            f'{file} registers no plugin: put @sdelens.analyzer("name"), or probe, source, '
            "reporter or noise, above its class"
        )
    return found


def execute(file: Path) -> ModuleType:
    """Execute a file as a module with a unique name."""
    if not file.is_file():
        raise UsageError(f"--plugin expects a Python file, got {file}: there is no such file")
    text, before = file.read_bytes(), registered()
    module = ModuleType(f"sdelens_plugin_{file.stem}_{sha256(text).hexdigest()[:12]}")
    module.__file__, module.__source__ = str(file), text  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module  # where dataclasses look annotations up
    try:
        with contained(str(file), "does not load:"):
            exec(compile(text, str(file), "exec"), module.__dict__)
    except BaseException:
        forget(before)
        del sys.modules[module.__name__]
        raise
    return module
