"""Sentences, estimates and arrays of the drift along a line and its zeros."""

from torch import Tensor

from sdelens.report import Estimate
from sdelens_plugins.analyzers.common.observed_path import ObservedPath
from sdelens_plugins.analyzers.vector_field.fixed_point_results import (
    MAX_POINTS,
    UNIT,
    fixed_point_estimates,
    fixed_points_in_words,
)
from sdelens_plugins.analyzers.vector_field.fixed_points import FixedPointSearch
from sdelens_plugins.analyzers.vector_field.line import LineDrift

READING = (
    "States vary, or are fitted, in one direction only, so the drift is a curve: the expected "
    "change in one unit of time at each state. It is zero at a fixed point, which attracts if "
    "small deviations decay from step to step. States in random order have the drift "
    "(mean - x)/dt, a line with slope -1/dt and one fixed point, at the mean, with eigenvalue 0; "
    "a random walk has no drift. Only differences from these are informative. The band is the "
    "mean observed change of held-out states near each state, with a 95% interval over documents; "
    "where it leaves the curve, the drift does not fit, or the states near the ends are few. "
    "Outside the region of the data a fit is extrapolation, so fixed points there are only "
    "counted. With noise no path stays at a fixed point."
)


def headline(drift: LineDrift, search: FixedPointSearch) -> str:
    """The mean slope and the fixed points."""
    slope = Estimate("", *drift.slope).number
    return f"The drift has the mean slope {slope} {UNIT}, and {fixed_points_in_words(search)}."


def estimates(drift: LineDrift, search: FixedPointSearch) -> tuple[Estimate, ...]:
    """The mean slope, the gap to the data, and the fixed points with their places."""
    null = f"{UNIT} (states in random order {-1 / drift.dt:g}, random walk 0)"
    gap, error = drift.gap
    size = float(drift.field.value.square().mean())
    places = drift.line.project(search.states).tolist()
    return (
        Estimate("slope of the drift", *drift.slope, null),
        Estimate("mean drift", size**0.5, unit=f"root mean square over nodes, {UNIT}"),
        Estimate(
            "fitted less observed mean change",
            gap**0.5,
            unit=f"root mean square over nodes ({error**0.5:.3g} by chance alone)",
        ),
        *(
            Estimate(f"fixed point {k + 1}, {drift.line.label}", place)
            for k, place in enumerate(places[:MAX_POINTS])
        ),
        *fixed_point_estimates(search),
    )


def arrays(drift: LineDrift, search: FixedPointSearch, path: ObservedPath) -> dict[str, Tensor]:
    """The curve, the observed mean change, the path, and the fixed points."""
    field, observed = drift.field, drift.observed
    errors = {
        "field.value_stderr": field.value_stderr,
        "field.slope_stderr": field.slope_stderr,
        "observed.value_stderr": observed.value_stderr,
    }
    return {
        "nodes": field.nodes,
        "field.value": field.value,
        "field.slope": field.slope,
        "observed.nodes": observed.nodes,
        "observed.value": observed.value,
        "density": drift.density,
        "path": drift.line.project(path.states),
        **{name: error for name, error in errors.items() if error is not None},
        "fixed.states": search.states,
        "fixed.line": drift.line.project(search.states),
        "fixed.eigenvalues": search.eigenvalues,
        "fixed.starts": search.points.starts,
    }
