"""Loads plugins by name and checks them against the protocols of their kind."""

from collections.abc import Iterator, Mapping
from typing import Any

from sdelens import model_protocols, protocols, report_protocols, sampling_protocols
from sdelens.declarations import has, members, problems
from sdelens.errors import BrokenPlugin, UsageError
from sdelens.laws.noise_families.family import family_problems
from sdelens.registry import API, OURS, Plugin, plugin
from sdelens.settings import build

REQUIRED: Mapping[str, Any] = {
    "model": protocols.ModelAdapter,
    "source": protocols.Source,
    "probe": protocols.Probe,
    "analyzer": protocols.Analyzer,
    "reporter": protocols.Reporter,
}
"""The protocol of each kind but noise, whose families implement `NoiseFamily`."""
OPTIONAL: Mapping[str, tuple[Any, ...]] = {
    "model": (model_protocols.ModelLoader, model_protocols.ModelPreviewer),
    "source": (
        *(protocols.SizedSource, protocols.TruncatedSource),
        protocols.CheckedSource,
        *(sampling_protocols.SamplingSource, sampling_protocols.PromptingSource),
    ),
    "analyzer": (
        *(protocols.CostedAnalyzer, protocols.QuickAnalyzer),
        report_protocols.QuestionAnalyzer,
    ),
    "probe": (protocols.MatchedProbe, protocols.StackedProbe),
    "reporter": (
        report_protocols.FigureReporter,
        report_protocols.MatplotlibReporter,
        report_protocols.PageReporter,
    ),
}
"""Optional protocols of each kind."""


def load(kind: str, name: str) -> Any:
    """The plugin class of that name; raises an error naming what it lacks."""
    return checked(plugin(kind, name))


def checked(found: Plugin) -> Any:
    """The class of a plugin; raises `BrokenPlugin` for another api version or missing members."""
    loaded = found.load()
    _require_api(found, loaded)
    require_declared(loaded, found.kind, str(found))
    return loaded


def build_plugin(kind: str, name: str, settings: Mapping[str, Any]) -> Any:
    """The plugin of that name with these settings."""
    built = build(load(kind, name), settings, name)
    require_declared(built, kind, f"the {kind} {name!r}")
    if isinstance(built, protocols.Probe) and built.density not in built.densities:
        listed = " or ".join(map(repr, built.densities))
        raise UsageError(f"{name}.density must be {listed}, got {built.density!r}")
    return built


def require_declared(found: Any, kind: str, label: str) -> None:
    """Raise `BrokenPlugin` unless a class or an instance implements the protocols of its kind."""
    for problem in problems_of(found, kind):
        raise BrokenPlugin(f"{label} {problem}")


def problems_of(found: Any, kind: str) -> Iterator[str]:
    """The first missing or invalid member of the required and implemented protocols."""
    if kind == "noise":  # declared by an abstract class, because laws do not import protocols
        yield from family_problems(found)
        return
    required = REQUIRED[kind]
    yield from problems(found, required)
    for protocol in OPTIONAL.get(kind, ()):
        own = members(protocol).keys() - members(required).keys()
        if all(has(found, name) for name in own):
            yield from problems(found, protocol)


def api_of(found: Any) -> Any:
    """The protocol version that a class was written for."""
    return found.api if isinstance(found, protocols.Versioned) else 1


def _require_api(found: Plugin, loaded: Any) -> None:
    written = api_of(loaded)
    if written == API:
        return
    newer = isinstance(written, int) and written > API
    remedy = OURS if newer else found.distribution
    raise BrokenPlugin(
        f"{found} was written for plugin api {written}, but this sdelens has api {API}: "
        f"upgrade {remedy}"
    )
