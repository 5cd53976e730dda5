"""Dose and response, of the fit's direction and of others as long."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.report import Figure, Layer, Panel, counted
from sdelens.steering.doses import Steering
from sdelens_plugins.analyzers.steering.dose_response import (
    CONTROLS,
    FIT,
    DoseResponse,
    over_texts,
)

SHOWN = {
    "next_word": ("first kl", "log10 of the KL of the next word, nats"),
    "along": ("kl", "log10 of the KL along the text, nats"),
    "nats": ("nats", "nats per word, unsteered model"),
    "entropy": ("entropy", "entropy of the next word, nats"),
    "distinct1": ("distinct1", "distinct-1"),
    "distinct2": ("distinct2", "distinct-2"),
}
SAYS = {
    "next_word": "How far one steered state moves the law of the next word; an unsteered one "
    "leaves it",
    "along": "How far steering at every written position moves the next word's law from the "
    "model's own after the same words",
    "nats": "The model's own surprise at words that were written while it was steered (the "
    "exponential is the perplexity)",
    "entropy": "The entropy of the laws that steered words are drawn from",
    "distinct1": "The share of words that are new in their text (less is more repetition)",
    "distinct2": "The share of pairs of words that are new in their text",
}
SHIFT = 0.012
"""Between the error bars of neighbouring series, as a share of the range of doses."""


def figures(dosed: DoseResponse) -> tuple[Figure, ...]:
    """Each response over doses of drift and of diffusion, then the drift taken away."""
    return (*(_doses(dosed, name) for name in SHOWN), _without(dosed))


def _doses(dosed: DoseResponse, name: str) -> Figure:
    metric, label = SHOWN[name]
    pushes = [s for s in dosed.steerings if s.how == "push"]
    drifts = [s for s in pushes if s.diffusion == 1]
    noises = [s for s in pushes if s.diffusion != 1]
    panels = [
        _panel(dosed, metric, label, axis, chosen, where, rest)
        for axis, chosen, where, rest in (
            ("dose a of the drift", drifts, [s.dose for s in drifts], 0.0),
            ("dose s of the diffusion", noises, [s.diffusion for s in noises], 1.0),
        )
        if chosen
    ]
    return Figure(
        name,
        tuple(panels),
        f"{SAYS[name]}, by dose, with 95% intervals over {_texts(dosed)}{_cut(label)}. Dashed: "
        "pushes in other directions, as long as the fit's. An effect by itself shows that the "
        "direction is read, not that the fit is right about it.",
    )


def _cut(label: str) -> str:
    """What becomes of an interval that leaves the axis."""
    logs = label.startswith("log10")
    return " (one that reaches 0 goes down to the least that is shown)" if logs else ""


def _panel(
    dosed: DoseResponse,
    metric: str,
    label: str,
    axis: str,
    chosen: Sequence[Steering],
    doses: Sequence[float],
    rest: float,
) -> Panel:
    """A line for each direction, through the unsteered value, and its error bars."""
    x = torch.tensor([*doses, rest], dtype=torch.float64)
    order = x.argsort()
    apart = SHIFT * float(x.max() - x.min())
    layers: list[Layer] = []
    names = (FIT, *CONTROLS)
    for series, (name, y, ends) in enumerate(
        zip(names, *_found(dosed, metric, chosen, log=label.startswith("log10")), strict=True)
    ):
        at = x + apart * (series - len(CONTROLS) / 2)
        line = {"x": at[order], "y": y[order]}
        layers.append(Layer("line", line, name, series, dashed=series > 0))
        own = len(at) if series == 0 else -1  # unsteered, all are the same
        layers.append(Layer("line", _upright(at[:own], ends[:own]), series=series))
    return Panel(axis, label, tuple(layers))


def _found(
    dosed: DoseResponse, metric: str, chosen: Sequence[Steering], *, log: bool
) -> tuple[Float[Tensor, "series dose"], Float[Tensor, "series dose 2"]]:
    """Values and the ends of their intervals, the unsteered one last."""
    own = over_texts(dosed.own(metric))
    found = [
        [*(over_texts(dosed[name, s, metric]) for s in chosen), own] for name in (FIT, *CONTROLS)
    ]
    y = torch.tensor([[one.value for one in row] for row in found], dtype=torch.float64)
    ends = torch.tensor([[one.ends for one in row] for row in found], dtype=torch.float64)
    if metric.startswith("distinct"):
        ends = ends.clamp(0, 1)
    return logged(y, ends) if log else (y, ends)


def logged(
    y: Float[Tensor, "series dose"], ends: Float[Tensor, "series dose 2"]
) -> tuple[Float[Tensor, "series dose"], Float[Tensor, "series dose 2"]]:
    """Logarithms; of nothing there is none, and an interval to it ends at the least that is shown.

    The line is broken where the value itself is nothing.
    """
    every = torch.cat([y[..., None], ends], dim=-1)
    least = every.where(every > 0, torch.inf).min()
    ends = ends.where(ends > 0, least).where(y[..., None] > 0, torch.nan)
    return y.where(y > 0, torch.nan).log10(), ends.log10()


def _upright(
    x: Float[Tensor, " dose"], ends: Float[Tensor, "dose 2"]
) -> dict[str, Float[Tensor, " point"]]:
    """Error bars as one line that is broken between them."""
    gap = torch.full_like(x, torch.nan)
    return {
        "x": torch.stack([x, x, gap], dim=1).flatten(),
        "y": torch.cat([ends, gap[:, None]], dim=1).flatten(),
    }


def _without(dosed: DoseResponse) -> Figure:
    """The next word's law where the drift is removed, and projected out."""
    panels = []
    words = (FIT, *CONTROLS)
    for how in ("remove", "project"):
        found = [over_texts(dosed[name, Steering(how), "first kl"]) for name in words]
        ends = torch.tensor([one.ends for one in found], dtype=torch.float64)
        values = torch.tensor([one.value for one in found], dtype=torch.float64)
        bars = {
            "x": torch.arange(len(words)).double(),
            "y": values,
            "low": ends[:, 0],
            "high": ends[:, 1],
        }
        title = {"remove": "Drift removed", "project": "Drift projected out"}[how]
        layer = Layer("bars", bars, words=words)
        panels.append(Panel("", "KL of the next word, nats", (layer,), title))
    return Figure(
        "without",
        tuple(panels),
        "How far the law of the next word moves where one state's step is without its drift, and "
        "where the state has no part along its drift, beside pushes as long in other directions; "
        f"95% intervals over {_texts(dosed)}.",
    )


def _texts(dosed: DoseResponse) -> str:
    return counted(len(dosed.unsteered), "test document")
