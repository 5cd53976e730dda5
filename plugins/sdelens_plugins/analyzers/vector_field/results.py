"""Sentences, estimates and arrays of the drift field and its fixed points."""

from torch import Tensor

from sdelens.report import Estimate
from sdelens_plugins.analyzers.common.observed_path import ObservedPath
from sdelens_plugins.analyzers.vector_field.fixed_point_results import (
    UNIT,
    fixed_point_estimates,
    fixed_points_in_words,
)
from sdelens_plugins.analyzers.vector_field.fixed_points import FixedPointSearch
from sdelens_plugins.analyzers.vector_field.plane import PlaneDrift

READING = (
    "An arrow is the expected change in one unit of time, drawn where there are data. Its length "
    "is that of the drift within the plane; the drift in all other directions is not visible. "
    "Arrows that point to the centre are typical of any stationary sequence: states in random "
    "order have the drift (mean - x)/dt, with divergence -2/dt in every plane, no curl, and one "
    "fixed point, at the mean, with eigenvalue 0; a random walk has no drift, and every state is "
    "a fixed point with eigenvalue 1. Only differences from these are informative. A slice keeps "
    "all other components at their mean, where few states are; the expectation averages over "
    "held-out states that are near in the plane, so its arrows need not be those of any state. "
    "Divergence and curl are those of the plotted field; the sign of the curl depends on the "
    "signs of the components, which are a convention. The search for fixed points starts at "
    "observed states; there may be others, and with noise no path stays at one. Outside the "
    "region of the data a fit is extrapolation, so fixed points there are only counted. Errors "
    "are over held-out documents, for the fit as it is."
)


def headline(plane: PlaneDrift, search: FixedPointSearch) -> str:
    """Divergence, curl and fixed points."""
    divergence, curl = (Estimate("", *pair).number for pair in (plane.divergence, plane.curl))
    return (
        f"In the plane of {' and '.join(plane.axes.names)} the drift has divergence {divergence} "
        f"and curl {curl} {UNIT}, and {fixed_points_in_words(search)}."
    )


def estimates(plane: PlaneDrift, search: FixedPointSearch) -> tuple[Estimate, ...]:
    """Averages over held-out states, the gap to the data, and the fixed points."""
    null = f"{UNIT} (states in random order {-2 / plane.dt:g}, random walk 0)"
    gap, error = plane.gap
    size = float(plane.field.value[plane.populated].square().mean())
    shares = zip(plane.axes.names, plane.axes.shares, strict=True)
    return (
        *(Estimate(f"variance along {name}", s, unit="of the variance") for name, s in shares),
        Estimate("divergence in the plane", *plane.divergence, null),
        Estimate("curl in the plane", *plane.curl, f"{UNIT} (random order 0)"),
        Estimate("mean drift in the plane", size**0.5, unit=f"root mean square, {UNIT}"),
        Estimate(
            "fitted less observed mean change",
            gap**0.5,
            unit=f"root mean square over nodes ({error**0.5:.3g} by chance alone)",
        ),
        *fixed_point_estimates(search),
    )


def arrays(plane: PlaneDrift, search: FixedPointSearch, path: ObservedPath) -> dict[str, Tensor]:
    """The field on the grid, the path, and the fixed points."""
    field = plane.field
    errors = {
        "field.value_stderr": field.value_stderr,
        "field.divergence_stderr": field.divergence_stderr,
        "field.curl_stderr": field.curl_stderr,
    }
    return {
        "nodes": field.nodes,
        "shown": plane.populated,
        "density": plane.grid.count,
        "field.value": field.value,
        "field.divergence": field.divergence,
        "field.curl": field.curl,
        "path": plane.axes.project(path.states),
        **{name: error for name, error in errors.items() if error is not None},
        "fixed.states": search.states,
        "fixed.plane": plane.axes.project(search.states),
        "fixed.eigenvalues": search.eigenvalues,
        "fixed.starts": search.points.starts,
    }
