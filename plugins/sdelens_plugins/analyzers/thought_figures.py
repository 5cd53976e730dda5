"""Maps of blocks, noise by depth and its laws, as figures."""

from typing import TYPE_CHECKING

import torch

from sdelens.dynamics.depth_noise import LAWS
from sdelens.evidence.bootstrap import Interval
from sdelens.report import Figure, Layer, Panel
from sdelens_plugins.analyzers.layer_map import NATS
from sdelens_plugins.analyzers.section import bars, course

if TYPE_CHECKING:
    from sdelens_plugins.analyzers.lines_of_thought import LinesOfThought

DEPTH = "depth of arrival"


def figures(found: "LinesOfThought") -> tuple[Figure, ...]:
    """Stretch and rotation, the noise with its laws, and how they compare."""
    return _maps(found), _noise(found), _compared(found)


def _maps(found: "LinesOfThought") -> Figure:
    tails = torch.tensor([0.1, 0.9], dtype=torch.float64)
    low, high = found.maps.factors.quantile(tails, dim=-1).log2()
    factors = Layer("band", {"x": found.x, "low": low, "high": high}, "80% of factors", 4)
    doubled = Interval(*(each.log2() for each in found.stretch.tensors().values()))
    null = (found.null.stretch.log2(), found.null.rotation)
    plain = [
        Layer("line", {"x": found.x, "y": each}, "increments exchanged", 1, dashed=True)
        for each in null
    ]
    panels = (
        Panel(
            DEPTH,
            "doublings (log₂ of the factor)",
            (factors, *course(found.x, doubled, "map of each step", 0), plain[0]),
            "Stretch",
        ),
        Panel(
            DEPTH,
            "degrees",
            (*course(found.x, found.rotation, "map of each step", 0), plain[1]),
            "Rotation",
        ),
    )
    return Figure(
        "maps",
        panels,
        "By how much each block stretches and turns deviations from the mean state, with 95% "
        "intervals over training documents; the wide band holds the middle 80% of the stretch "
        "factors of all directions. Dashed: maps of increments exchanged between tokens.",
    )


def _noise(found: "LinesOfThought") -> Figure:
    logs = {name: found.laws.log_variance[row] for row, name in enumerate(LAWS)}
    values = {"x": found.x, "y": found.variance.value.log()}
    ends = {"x": found.x, "low": found.variance.low.log(), "high": found.variance.high.log()}
    fits = [
        Layer("line", {"x": found.x, "y": logs[name]}, f"{name} law", series, dashed=series > 1)
        for series, name in enumerate(("exponential", "power"), start=1)
    ]
    if found.later:
        own = {"x": found.x[1:], "y": found.later.log_variance[0]}
        fits.append(Layer("line", own, "exponential, after the first", 3, dashed=True))
    points = (Layer("band", ends), Layer("scatter", values, "held-out residuals"), *fits)
    share = Layer("line", {"x": found.x, "y": found.share}, "")
    panels = (
        Panel(DEPTH, "log variance per coordinate", points, "Noise"),
        Panel(DEPTH, "share of the states' variance", (share,), "Relative noise"),
    )
    return Figure(
        "noise",
        panels,
        "Natural logarithm of the noise variance by depth, with 95% intervals over held-out "
        "documents, and the laws fitted to training documents; an exponential law is a "
        "straight line. Right: the same variance relative to that of the states there.",
    )


def _compared(found: "LinesOfThought") -> Figure:
    words = [f"{name} law" if name != "free" else "free curve" for name in LAWS[1:]]
    both = (
        *course(found.x, found.r2, "map of each step", 0),
        *course(found.x, found.own, "the run's fit", 1),
    )
    panels = (
        Panel("", f"gain, {NATS}", (bars(found.laws.gain[1:], words),), "Over exponential"),
        Panel(DEPTH, "share explained", both, "Increment R²"),
    )
    return Figure(
        "laws",
        panels,
        "Held-out gain of other laws of the noise over the exponential one; and the share of "
        "the squared increments that is explained. 95% intervals over documents.",
    )
