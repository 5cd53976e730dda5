"""Figures of the drift along a line, with its zeros."""

import torch

from sdelens.estimation.ratio import FEWEST
from sdelens.evidence.student import student
from sdelens.report import Figure, Layer, Panel
from sdelens.wording import counted
from sdelens_plugins.analyzers.vector_field.fixed_point_results import POINTS, UNIT
from sdelens_plugins.analyzers.vector_field.fixed_points import FixedPointSearch
from sdelens_plugins.analyzers.vector_field.line import LineDrift


def figures(drift: LineDrift, search: FixedPointSearch) -> tuple[Figure, ...]:
    """The drift with its zeros over the observed mean change, and the density of the states."""
    nodes = drift.field.nodes
    zero = {"x": nodes[[0, -1]], "y": torch.zeros(2).to(nodes)}
    curve = (
        *_observed(drift),
        Layer("line", {"x": nodes, "y": drift.field.value}, "drift of the fit", series=0),
        Layer("line", zero, series=4, dashed=True),
        *_zeros(drift, search),
    )
    density = Layer("line", {"x": drift.observed.nodes, "y": drift.density}, series=0)
    across = drift.line.label
    kind = "at all held-out times" if drift.kind == "expectation" else f"t = {drift.t:g}"
    return (
        Figure(
            "field",
            (
                Panel(across, f"drift, {UNIT}", curve, "Drift"),
                Panel(across, "training states", (density,), "Density"),
            ),
            f"The drift ({kind}) and its zeros, and the mean observed change of held-out states "
            f"{_interval_words(drift)}. Right: training states near each node.",
        ),
    )


def _interval_words(drift: LineDrift) -> str:
    documents = counted(drift.documents, "document")
    enough = drift.documents >= FEWEST
    return f"with a 95% interval over {documents}" if enough else f"of {documents}"


def _observed(drift: LineDrift) -> list[Layer]:
    """The mean observed change with its band."""
    found = drift.observed
    layers = [Layer("line", {"x": found.nodes, "y": found.value}, "observed mean change", 1)]
    if found.value_stderr is None or drift.documents < FEWEST:
        return layers
    margin = student(0.975, drift.documents) * found.value_stderr
    ends = {"x": found.nodes, "low": found.value - margin, "high": found.value + margin}
    return [Layer("band", ends, "95% interval", 1), *layers]


def _zeros(drift: LineDrift, search: FixedPointSearch) -> list[Layer]:
    places = drift.line.project(search.states).double()
    stable = search.points.stable
    return [
        Layer(
            "scatter", {"x": places[chosen], "y": torch.zeros_like(places[chosen])}, *POINTS[key]
        )
        for key, chosen in ((True, stable), (False, ~stable))
        if chosen.any()
    ]
