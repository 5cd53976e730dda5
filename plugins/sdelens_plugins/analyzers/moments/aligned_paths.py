"""Test documents cut to a common range of times."""

from collections.abc import Sequence
from dataclasses import replace

from sdelens.errors import UsageError
from sdelens_plugins.analyzers.common.observed_path import ObservedPath


def aligned(paths: Sequence[ObservedPath], steps: int) -> list[ObservedPath]:
    """Paths that start at the same time and have the same length, at most `steps` steps.

    The common start is a time by which nine of ten paths have begun; the common length is one
    that half of them reach. Paths that start later or end earlier are left out.
    """
    if not paths:
        raise UsageError(
            "moments need a held-out document with a transition, but there is none: fit to more "
            "or longer texts"
        )
    starts = sorted(float(path.times[0]) for path in paths)
    start = starts[int(0.9 * (len(starts) - 1))]
    group = [_since(path, start) for path in paths if float(path.times[0]) <= start]
    group = [path for path in group if path.steps > 0]
    length = min(steps + 1, sorted(len(path.times) for path in group)[len(group) // 2])
    return [path.first(length) for path in group if len(path.times) >= length]


def _since(path: ObservedPath, start: float) -> ObservedPath:
    """The states of a path from a time on."""
    keep = path.times >= start
    return replace(
        path, states=path.states[keep], times=path.times[keep], tokens=path.tokens[keep]
    )
