"""Sentences and estimates of the fixed points, in a plane or along a line."""

from sdelens.report import Estimate
from sdelens_plugins.analyzers.vector_field.fixed_points import FixedPointSearch

UNIT = "per unit of time"
MAX_POINTS = 5
"""Fixed points with an estimate of their own."""
POINTS = {True: ("fixed point, attracts", 2), False: ("fixed point, does not attract", 3)}
"""Label and series of fixed points in figures, by whether they attract."""


def fixed_points_in_words(search: FixedPointSearch) -> str:
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


def fixed_point_estimates(search: FixedPointSearch) -> list[Estimate]:
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
