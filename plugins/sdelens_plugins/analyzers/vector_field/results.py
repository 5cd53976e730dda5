"""Sentences, estimates and arrays of the drift field and its fixed points."""

import torch
from torch import Tensor

from sdelens.report import Estimate
from sdelens_plugins.analyzers.common.observed_path import ObservedPath
from sdelens_plugins.analyzers.vector_field.fixed_points import FixedPointSearch
from sdelens_plugins.analyzers.vector_field.plane import PlaneDrift

UNIT = "per unit of time"
MAX_POINTS = 5
"""Fixed points with an estimate of their own."""
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
    "signs of the components, which are a convention. Fixed points are searched from observed "
    "states; there may be others, and with noise no path stays at one. Outside the region of the "
    "data a fit is extrapolation, so fixed points there are only counted. Errors are over "
    "held-out documents, for the fit as it is."
)


def headline(plane: PlaneDrift, search: FixedPointSearch) -> str:
    """Divergence, curl and fixed points."""
    divergence, curl = (Estimate("", *pair).number for pair in (plane.divergence, plane.curl))
    return (
        f"In the plane of {' and '.join(plane.axes.names)} the drift has divergence {divergence} "
        f"and curl {curl} {UNIT}, and {_fixed_points(search)}."
    )


def _fixed_points(search: FixedPointSearch) -> str:
    """Whether there are fixed points, and whether they attract."""
    count, attracting = len(search.states), int(search.points.stable.sum())
    if count == 0:
        return "no fixed point was found in the region of the data"
    if count == 1:
        effect = "attracts" if attracting else "does not attract"
        return f"the fit has one fixed point, which {effect}"
    some = "some of which attract" if attracting else "none of which attracts"
    every = "which all attract" if attracting == count else some
    return f"the fit has several fixed points, {every}"


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
        *_fixed_point_estimates(search),
    )


def _fixed_point_estimates(search: FixedPointSearch) -> list[Estimate]:
    """Counts, and the largest modulus at each point."""
    points, starts = search.points, f"of {search.starts} starting states"
    rows = [
        Estimate(
            f"largest |eigenvalue| at fixed point {k + 1}",
            float(points.modulus[k]),
            search.errors[k],
            f"below 1 attracts (reached from {int(points.starts[k])} {starts})",
        )
        for k in range(min(len(points.points), MAX_POINTS))
    ]
    return [
        Estimate(
            "fixed points inside the data's region",
            float(len(points.points)),
            unit=f"({int(points.stable.sum())} attract)",
        ),
        *rows,
        Estimate("starts that ended in a root outside", float(points.outside), unit=starts),
        Estimate("starts that ended in none", float(points.lost), unit=starts),
    ]


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
        "fixed.eigenvalues": torch.view_as_real(search.points.eigenvalues),
        "fixed.starts": search.points.starts,
    }
