"""Plugins by name: entry points, listed without importing, loaded on first use."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from sdelens.errors import BrokenPlugin, SdelensError, UnknownName, UsageError

KINDS = ("model", "source", "probe", "analyzer", "reporter")


@dataclass(frozen=True)
class Plugin:
    """A name, what it stands for, and who provides it."""

    kind: str
    name: str
    distribution: str
    version: str
    entry: EntryPoint

    def load(self) -> Any:
        """The class; an error that keeps the cause where it does not import."""
        try:
            return self.entry.load()
        except SdelensError:
            raise
        except Exception as error:
            raise BrokenPlugin(
                f"the {self.kind} {self.name!r} of {self.distribution} {self.version} does not "
                f"load: {type(error).__name__}: {error}"
            ) from error


@cache
def plugins(kind: str) -> dict[str, Plugin]:
    """All plugins of a kind by name, none imported; an error where two claim one name."""
    found: dict[str, list[Plugin]] = defaultdict(list)
    for entry in entry_points(group=f"sdelens.{kind}s"):
        owner = entry.dist
        name, version = (owner.name, owner.version) if owner else ("unknown", "0")
        found[entry.name].append(Plugin(kind, entry.name, name, version, entry))
    for name, claims in found.items():
        owners = sorted({plugin.distribution for plugin in claims})
        if len(owners) > 1:
            raise UsageError(
                f"two distributions claim the {kind} {name!r}, {' and '.join(owners)}: "
                "uninstall one of them"
            )
    return {name: found[name][0] for name in sorted(found)}


def plugin(kind: str, name: str) -> Plugin:
    """The plugin of that name; an error that offers the nearest names."""
    known = plugins(kind)
    if name not in known:
        raise UnknownName.among(kind, name, known, "See: sdelens plugins list")
    return known[name]


def load(kind: str, name: str) -> Any:
    """The class of that name."""
    return plugin(kind, name).load()
