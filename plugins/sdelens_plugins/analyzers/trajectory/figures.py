"""Figures of predicted trajectories."""

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.interval import Interval
from sdelens.report import Figure, Layer, Panel
from sdelens.wording import counted
from sdelens_plugins.analyzers.common.intervals import intervals_over, line_with_band
from sdelens_plugins.analyzers.trajectory.free_run import Horizons
from sdelens_plugins.analyzers.trajectory.path_prediction import PathPrediction
from sdelens_plugins.analyzers.trajectory.results import TrajectoryResults

PREDICTIONS = {
    "free": "free-running mean",
    "linear": "linear law's mean",
    "walk": "random walk",
    "centre": "mean state",
}


OVERLAID = 12
"""States whose words, paths and predictions can be told apart in one panel."""


def figures(result: TrajectoryResults) -> tuple[Figure, ...]:
    """The path side by side, overlaid with words and free-running; then errors by horizon."""
    path = result.path
    return _side_by_side(path), _overlay(path), _free_run(path), _horizons(result.horizons)


def _side_by_side(path: PathPrediction) -> Figure:
    x, y = path.labels
    actual, predicted = path.drawn(path.actual), path.drawn(path.predicted)
    panels = (
        Panel(x, y, _trail(actual, "", 0), "Actual", share="plane"),
        Panel(x, y, _trail(predicted, "", 1), "Predicted one step ahead", share="plane"),
    )
    return Figure(
        "path",
        panels,
        f"{path.path.span}: the states, and each as predicted from the actual state before it, in "
        f"{_space(path)}.",
    )


def _overlay(path: PathPrediction) -> Figure:
    x, y = path.labels
    actual, predicted = path.drawn(path.actual)[:OVERLAID], path.drawn(path.predicted)
    predicted = predicted[: len(actual) - 1]
    layers = (
        *_trail(actual, "actual", 0),
        Layer("scatter", _columns(actual[:1]), "start"),
        Layer("line", _columns(_joined(predicted, actual[1:])), "error", 1, dashed=True),
        Layer("scatter", _columns(predicted), "predicted one step ahead", 1),
    )
    words = "Each word is at the actual state after the word has been read."
    if any(path.words):
        layers = (*layers, Layer("words", _columns(actual), words=path.words[:OVERLAID]))
    return Figure(
        "overlay",
        (Panel(x, y, layers),),
        f"{path.path.first(OVERLAID).span}: the path, and each state as predicted from the actual "
        f"state before it. {words if any(path.words) else ''}".rstrip(),
    )


def _joined(
    first: Float[Tensor, "time 2"], second: Float[Tensor, "time 2"]
) -> Float[Tensor, "point 2"]:
    """A line from each point to another, broken between the pairs."""
    gap = torch.full_like(first, torch.nan)
    return torch.stack([first, second, gap], dim=1).flatten(0, 1)


def _space(path: PathPrediction) -> str:
    """The space of the path, for captions."""
    if len(path.plane.components) == 1:
        return "the only direction in which training states vary, against time"
    return "the first two principal components of the standardised training states"


def _free_run(path: PathPrediction) -> Figure:
    panels = tuple(_component(path, k, label) for k, label in enumerate(path.plane.labels))
    return Figure(
        "free",
        panels,
        f"{path.path.span}: the fit run freely from the first of these states (mean and 5 to 95% "
        "band of simulated paths), and the actual path.",
    )


def _component(path: PathPrediction, k: int, label: str) -> Panel:
    t, band = path.path.times, path.band
    layers = (
        Layer(
            "band",
            {"x": t, "low": band.low[:, k], "high": band.high[:, k]},
            "simulated, 5 to 95%",
            series=1,
        ),
        Layer("line", {"x": t, "y": band.mean[:, k]}, "simulated, mean", 1, dashed=True),
        Layer("line", {"x": t, "y": path.actual[:, k]}, "actual", series=0),
    )
    return Panel(path.time_label, label, layers)


def _columns(points: Float[Tensor, "time 2"]) -> dict[str, Tensor]:
    return {"x": points[:, 0], "y": points[:, 1]}


def _trail(
    points: Float[Tensor, "time 2"], label: str, series: int, *, dashed: bool = False
) -> tuple[Layer, ...]:
    """A line with its points."""
    line = Layer("line", _columns(points), label, series, dashed=dashed)
    return line, Layer("scatter", _columns(points), series=series)


def _horizons(horizons: Horizons) -> Figure:
    """Mean distance by steps ahead: the fit, the linear law, the random walk, the mean state."""
    steps = torch.arange(1, horizons.free.shape[1] + 1).double()
    distances = [
        layer
        for series, (name, label) in enumerate(PREDICTIONS.items())
        for layer in line_with_band(steps, _mean(getattr(horizons, name)), label, series)
    ]
    zero = {"x": torch.tensor([1.0, max(len(steps), 2)]), "y": torch.zeros(2)}
    lead = (
        *line_with_band(steps, _mean(horizons.lead), "", 0),
        Layer("line", zero, series=2, dashed=True),
    )
    ahead, distance = "steps ahead", "distance from the actual state, latent units"
    difference = "linear law's minus the fit's, latent units"
    return Figure(
        "horizon",
        (
            Panel(ahead, distance, tuple(distances), "Divergence"),
            Panel(ahead, difference, lead, "Lead over the linear law"),
        ),
        "Mean distance from the actual state by the number of steps ahead, in the coordinates of "
        f"the fit, over {counted(len(horizons.free), 'test document')}, "
        f"{intervals_over('documents that are long enough', _mean(horizons.free).low)}; and the "
        "linear law's distance minus the fit's, paired by document. The mean state is that of "
        "training.",
    )


def _mean(values: Float[Tensor, "document horizon"]) -> Interval:
    """The mean over the documents that are long enough, by horizon."""
    known = values.isfinite()
    return Interval.ratio(values.where(known, 0.0).mT, known.double().mT)
