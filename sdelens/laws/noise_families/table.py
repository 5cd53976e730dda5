"""Noise families by name, built-in and registered by plugins."""

from sdelens.errors import UsageError
from sdelens.laws.noise_families.diagonal import Diagonal, Scalar
from sdelens.laws.noise_families.family import NoiseFamily
from sdelens.laws.noise_families.full import Full
from sdelens.laws.noise_families.low_rank import LowRank
from sdelens.registry import plugin, plugins

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
    known = plugins("noise")
    if name in BUILT_IN and name in known:
        raise UsageError(f"{name!r} is a built-in noise family: use another name for yours")
    kind: type[NoiseFamily] | None = BUILT_IN.get(name)
    if name in known:
        kind = plugin("noise", name).load()
    family = kind.parse(argument if colon else None) if kind else None
    if family is None:
        *usages, last = [*(each.usage for each in BUILT_IN.values()), *known]
        raise UsageError(f"noise must be {', '.join(usages)} or {last}, got {setting!r}")
    return family
