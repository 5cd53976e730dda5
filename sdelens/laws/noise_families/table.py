"""Noise families by name, built-in and registered by plugins."""

import re

from sdelens.containment.contained import contained
from sdelens.errors import BrokenPlugin, UnknownName, UsageError
from sdelens.laws.noise_families.diagonal import Diagonal, Scalar
from sdelens.laws.noise_families.family import NoiseFamily, family_problems
from sdelens.laws.noise_families.full import Full
from sdelens.laws.noise_families.low_rank import LowRank
from sdelens.registry import Plugin, plugins

BUILT_IN: dict[str, type[NoiseFamily]] = {
    "scalar": Scalar,
    "diagonal": Diagonal,
    "correlated": LowRank,
    "full": Full,
}


def noise_family(setting: str) -> NoiseFamily:
    """The noise family selected by a setting such as ``correlated:32``.

    >>> noise_family("correlated:32")
    LowRank(rank=32)
    """
    name, colon, argument = setting.partition(":")
    kind, found = BUILT_IN.get(name), family_plugin(setting)
    if kind and found:
        raise UsageError(f"{name!r} is a built-in noise family: use another name for yours")
    if found:
        kind = load_family(found)
    if kind is None:
        known = [*(each.usage for each in BUILT_IN.values()), *plugins("noise")]
        more = "Give one in a file with --plugin FILE"
        raise UnknownName.among("noise family", name, known, more)
    with contained(f"parse() of the noise family {name!r}"):
        family = kind.parse(argument if colon else None)
    if family is None:
        raise UsageError(f"noise must be of the form {kind.usage}, got {setting!r}")
    return family


def family_plugin(setting: str) -> Plugin | None:
    """The plugin that registers the family of a setting; None for built-in families."""
    return plugins("noise").get(re.split("[:@]", setting)[0])


def load_family(found: Plugin) -> type[NoiseFamily]:
    """The class of a plugin; raises `BrokenPlugin` unless it implements `NoiseFamily`."""
    family: type[NoiseFamily] = found.load()
    for problem in family_problems(family):
        raise BrokenPlugin(f"{found} {problem}")
    return family
