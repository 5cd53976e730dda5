"""Figures of the drift field and its fixed points."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sdelens.report import Figure, Layer, Panel
from sdelens_plugins.analyzers.common.observed_path import ObservedPath
from sdelens_plugins.analyzers.vector_field.fixed_point_results import POINTS, UNIT
from sdelens_plugins.analyzers.vector_field.fixed_points import FixedPointSearch
from sdelens_plugins.analyzers.vector_field.plane import MIN_STATES, PlaneDrift

PANELS = 4
"""Panels in one figure of further planes."""
DRAWN_STEPS = 12
"""Steps of the observed path that leave the arrows visible."""


def figures(
    plane: PlaneDrift,
    search: FixedPointSearch,
    path: ObservedPath,
    further: Sequence[PlaneDrift],
) -> tuple[Figure, ...]:
    """The field with its length, divergence and curl, their errors, and further planes."""
    return (
        _field(plane, search, path),
        _derivatives(plane),
        *_errors(plane),
        *_further(further, path),
    )


def _field(plane: PlaneDrift, search: FixedPointSearch, path: ObservedPath) -> Figure:
    arrows = (*_arrows(plane, path), *_fixed_points(plane, search))
    states = _map(plane, plane.grid.count.ravel(), "training states", "Density")
    length = _map(plane, plane.field.magnitude, f"length {UNIT}", "Length of the drift")
    if plane.kind == "slice":
        kind = f"other components at their mean, t = {plane.t:g}"
    else:
        kind = f"mean over nearby held-out states, {plane.documents} documents"
    return Figure(
        "field",
        (_panel(plane, arrows, "Drift"), length, states),
        f"The drift in two principal components ({kind}), its length, and the number of training "
        f"states, with the beginning of {path.name}. Arrows are drawn where there are "
        f"{MIN_STATES} states or more.",
    )


def _derivatives(plane: PlaneDrift) -> Figure:
    return Figure(
        "derivatives",
        (
            _map(plane, plane.field.divergence, UNIT, "Divergence", signed=True),
            _map(plane, plane.field.curl, UNIT, "Curl", signed=True),
        ),
        f"Divergence and curl of that field. States in random order have {-2 / plane.dt:g} and 0 "
        "everywhere.",
    )


def _errors(plane: PlaneDrift) -> list[Figure]:
    """Standard errors of the field; none for a slice."""
    field = plane.field
    if field.value_stderr is None or field.divergence_stderr is None:
        return []
    panels = (
        _map(plane, field.value_stderr.norm(dim=-1), UNIT, "Error of the drift"),
        _map(plane, field.divergence_stderr, UNIT, "Error of the divergence"),
    )
    caption = f"Standard errors of the field over {plane.documents} held-out documents."
    return [Figure("errors", panels, caption)]


def _further(planes: Sequence[PlaneDrift], path: ObservedPath) -> list[Figure]:
    """Arrows and path in further planes, a few in a row."""
    rows = [planes[k : k + PANELS] for k in range(0, len(planes), PANELS)]
    return [
        Figure(
            f"planes{number}" if len(rows) > 1 else "planes",
            tuple(_small_panel(plane, path) for plane in row),
            f"The drift ({row[0].kind}) in further planes of principal components, and the "
            f"beginning of {path.name}.",
        )
        for number, row in enumerate(rows, start=1)
    ]


def _small_panel(plane: PlaneDrift, path: ObservedPath) -> Panel:
    across, up = plane.axes.names
    return Panel(across, up, _arrows(plane, path))


def _arrows(plane: PlaneDrift, path: ObservedPath) -> tuple[Layer, ...]:
    """The arrows, and the beginning of the path with its start."""
    keep, field = plane.populated, plane.field
    arrows = torch.cat([field.nodes, field.value], dim=-1)[keep].unbind(-1)
    trail = dict(
        zip("xy", plane.axes.project(path.states[: DRAWN_STEPS + 1]).unbind(-1), strict=True)
    )
    start = {name: column[:1] for name, column in trail.items()}
    return (
        Layer("arrows", dict(zip("xyuv", arrows, strict=True)), series=0),
        Layer("line", trail, path.name, series=1),
        Layer("scatter", start, "its start", series=1),
    )


def _fixed_points(plane: PlaneDrift, search: FixedPointSearch) -> list[Layer]:
    points = plane.axes.project(search.states)
    return [
        Layer("scatter", {"x": point[:1], "y": point[1:]}, *POINTS[bool(attracts)])
        for point, attracts in zip(points, search.points.stable, strict=True)
    ]


def _map(
    plane: PlaneDrift, values: Tensor, label: str, title: str, *, signed: bool = False
) -> Panel:
    grid = plane.grid
    z = grid.shaped(values, plane.populated)
    cells = {"x": grid.across, "y": grid.up, "z": z}
    return _panel(plane, (Layer("heat", cells, label, signed=signed),), title)


def _panel(plane: PlaneDrift, layers: tuple[Layer, ...], title: str) -> Panel:
    across, up = plane.axes.labels
    return Panel(across, up, layers, title, share="plane")
