"""Plugins by name: entry points, listed without importing, and plugins of this process."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from sdelens.containment.contained import contained
from sdelens.errors import SdelensError, UnknownName, UsageError
from sdelens.file_names import file_name, file_name_problem

API = 1
"""Protocol version, increased when a change breaks older plugins."""
KINDS = ("model", "source", "probe", "noise", "analyzer", "reporter")
OURS = "sdelens"
"""The distribution of the built-in plugins."""
LOAD_PLUGINS = "SDELENS_LOAD_PLUGINS"
"""Environment variable that lists the distributions to load plugins from; '' means none."""


@dataclass(frozen=True)
class Plugin:
    """A registered plugin: its name, class and distribution."""

    kind: str
    name: str
    distribution: str
    """The distribution, or the file of the plugin."""
    version: str
    target: str
    """The class, as ``module:name``."""
    get: Callable[[], Any]
    """Imports the class."""
    sha256: str | None = None
    """Hash of the executed source of a file or a notebook cell."""
    rivals: tuple[str, ...] = ()
    """All distributions that claim the same name."""

    @classmethod
    def of(cls, kind: str, entry: EntryPoint) -> "Plugin":
        """An installed plugin, not imported."""
        owner = entry.dist
        name, version = (str(owner.name), owner.version) if owner else ("unknown", "0")
        return cls(kind, entry.name, name, version, entry.value, entry.load)

    def __str__(self) -> str:
        return f"the {self.kind} {self.name!r} of {self.distribution} {self.version}"

    @property
    def problem(self) -> str | None:
        """Why the plugin cannot be used, as far as known without importing it."""
        if problem := file_name_problem(self.name):
            return f"the name of {self} {problem}: its author must choose another"
        if not self.rivals:
            return None
        return (
            f"two distributions claim the {self.kind} {self.name!r}, {' and '.join(self.rivals)}: "
            f"uninstall one of them, or list the ones to load in {LOAD_PLUGINS}"
        )

    def load(self) -> Any:
        """Import the class; raises `BrokenPlugin` with the cause if that fails.

        `sdelens.interfaces` also checks its members. Raises `UsageError` if two distributions
        claim the name.
        """
        if self.problem:
            raise UsageError(self.problem)
        with contained(str(self), "does not load:", quiet=self.distribution == OURS):
            return self.get()


@cache
def installed(kind: str) -> dict[str, Plugin]:
    """Installed plugins by name, not imported, including those with conflicting names."""
    found: dict[str, list[Plugin]] = defaultdict(list)
    for entry in entry_points(group=f"sdelens.{kind}s"):
        plugin = Plugin.of(kind, entry)
        if _seen(plugin.distribution):
            found[plugin.name].append(plugin)
    return {name: _one(claims) for name, claims in found.items()}


def _one(claims: list[Plugin]) -> Plugin:
    owners = sorted({plugin.distribution for plugin in claims})
    return replace(claims[0], rivals=tuple(owners) if len(owners) > 1 else ())


def _seen(distribution: str) -> bool:
    """Whether plugins of a distribution are loaded; the built-in ones always are."""
    wanted = os.environ.get(LOAD_PLUGINS)
    if wanted is None:
        return True
    return _plain(distribution) in {OURS, *map(_plain, wanted.split(","))}


def _plain(distribution: str) -> str:
    """The normalised name of a distribution."""
    return re.sub(r"[-_.]+", "-", distribution.strip()).lower()


_registered: dict[tuple[str, str], Plugin] = {}
"""Plugins registered by files and notebooks, by kind and name."""


def register(plugin: Plugin) -> None:
    """Register a plugin of this process, before installed ones; a repeated name replaces it.

    Names of built-in plugins are refused, because their runs would be opened with the wrong one.
    """
    file_name(plugin.name, f"the name of a {plugin.kind}")
    taken = installed(plugin.kind).get(plugin.name)
    if taken and OURS in (taken.distribution, *taken.rivals):
        raise UsageError(
            f"{plugin.name!r} is the name of a built-in {plugin.kind}: choose another name"
        )
    if taken and taken.target.partition(":")[0] == plugin.target.partition(":")[0]:
        return  # the installed plugin itself, which is being imported
    _registered[plugin.kind, plugin.name] = plugin


def registered() -> Mapping[tuple[str, str], Plugin]:
    """Plugins registered in this process, by kind and name."""
    return dict(_registered)


def forget(plugins: Mapping[tuple[str, str], Plugin]) -> None:
    """Restore an earlier state of the registered plugins."""
    _registered.clear()
    _registered.update(plugins)


def plugins(kind: str) -> dict[str, Plugin]:
    """All plugins of a kind by name, not imported."""
    own = {name: plugin for (of, name), plugin in _registered.items() if of == kind}
    return dict(sorted((installed(kind) | own).items()))


def plugin(kind: str, name: str) -> Plugin:
    """The plugin of that name; raises an error that suggests the nearest names."""
    known = plugins(kind)
    if name not in known:
        more = "See: sdelens plugins list; give a plugin in a file with --plugin FILE"
        raise UnknownName.among(kind, name, known, more)
    found = known[name]
    if found.problem:
        raise UsageError(found.problem)
    return found


def plugin_with(kind: str, method: str) -> Plugin:
    """The plugin of a kind that has an optional method: built-in ones first, then by name.

    Plugins that do not load are skipped if another one has the method; otherwise the error of the
    first is raised. Raises `UnknownName` if all load and none has the method.
    """
    errors: list[SdelensError] = []
    for found in sorted(plugins(kind).values(), key=lambda each: each.distribution != OURS):
        try:
            if hasattr(found.load(), method):
                return found
        except SdelensError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    raise UnknownName(f"no {kind} has the method {method}: install a plugin that has it")
