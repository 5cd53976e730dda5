"""Figures of a dose response, for the fit's direction and for controls of the same length."""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from sdelens.report import Figure, Layer, Panel, Scale
from sdelens.steering.doses import Steering
from sdelens.wording import counted
from sdelens_plugins.analyzers.common.document_means import mean_bars
from sdelens_plugins.analyzers.common.intervals import intervals_over
from sdelens_plugins.analyzers.steering.dose_response import (
    CONTROLS,
    FIT,
    DoseResponse,
    text_mean,
)

RESPONSES = {
    "next_word": (
        "first kl",
        "KL of the next token, nats",
        "The effect of one steered state on the next-token distribution (zero if unsteered)",
    ),
    "along": (
        "kl",
        "KL along the text, nats",
        "The effect of steering at every generated position on the next-token distribution, "
        "compared with the model's own after the same tokens",
    ),
    "nats": (
        "nats",
        "nats per token, unsteered model",
        "The unsteered model's surprisal of tokens generated under steering (its exponential is "
        "the perplexity)",
    ),
    "entropy": (
        "entropy",
        "entropy of the next token, nats",
        "The entropy of the steered next-token distributions",
    ),
    "distinct1": (
        "distinct1",
        "distinct-1",
        "The share of tokens that are new in their text (lower is more repetition)",
    ),
    "distinct2": (
        "distinct2",
        "distinct-2",
        "The share of token pairs that are new in their text",
    ),
}
"""By figure: the metric, its axis label and the start of the caption."""
CONTROL_PAIRS = (CONTROLS[:2], CONTROLS[2:])
"""The controls of each panel: random directions, and those to a mean."""
SHIFT = 0.012
"""Between the error bars of neighbouring series, as a share of the range of doses."""


def figures(result: DoseResponse) -> tuple[Figure, ...]:
    """Each response over doses of drift and of diffusion, then the drift taken away."""
    return (*(_doses(result, name) for name in RESPONSES), _without_drift(result))


def _doses(result: DoseResponse, name: str) -> Figure:
    metric, label, effect = RESPONSES[name]
    pushes = [s for s in result.steerings if s.how == "push"]
    drifts = [s for s in pushes if s.diffusion == 1]
    noises = [s for s in pushes if s.diffusion != 1]
    panels = [
        _panel(result, metric, label, axis, steerings, doses, unsteered, controls)
        for axis, steerings, doses, unsteered in (
            ("dose a of the drift", drifts, [s.dose for s in drifts], 0.0),
            ("dose s of the diffusion", noises, [s.diffusion for s in noises], 1.0),
        )
        if steerings
        for controls in CONTROL_PAIRS
    ]
    cut = " (drawn down to the smallest plotted value if it reaches 0)" if _is_log(metric) else ""
    return Figure(
        name,
        tuple(panels),
        f"{effect}, by dose, {_intervals_over(result)}{cut}. Dashed: pushes of the same length in "
        "other directions. An effect by itself shows that the network reads the direction, not "
        "that the fit is right about it.",
    )


def _is_log(metric: str) -> bool:
    return metric.endswith("kl")


def _panel(
    result: DoseResponse,
    metric: str,
    label: str,
    axis: str,
    steerings: Sequence[Steering],
    doses: Sequence[float],
    unsteered: float,
    controls: Sequence[str],
) -> Panel:
    """A line with error bars for the fit and two controls, through the unsteered value."""
    x = torch.tensor([*doses, unsteered], dtype=torch.float64)
    order = x.argsort()
    shift = SHIFT * float(x.max() - x.min())
    layers: list[Layer] = []
    means, ends = _means(result, metric, steerings)
    if _is_log(metric):
        means, ends = positive(means, ends)
    for place, name in enumerate((FIT, *controls)):
        series = (FIT, *CONTROLS).index(name)
        at = x + shift * (place - len(controls) / 2)
        line = {"x": at[order], "y": means[series][order]}
        layers.append(Layer("line", line, name, series, dashed=series > 0))
        last = len(at) if series == 0 else -1  # unsteered, all are the same
        bars = _error_bars(at[:last], ends[series][:last])
        layers.append(Layer("line", bars, series=series))
    scale: Scale = "log" if _is_log(metric) else "linear"
    return Panel(axis, label, tuple(layers), share=axis, y_scale=scale)


def _means(
    result: DoseResponse, metric: str, steerings: Sequence[Steering]
) -> tuple[Float[Tensor, "series dose"], Float[Tensor, "series dose 2"]]:
    """Means and the ends of their intervals, the unsteered one last."""
    unsteered = text_mean(result.unsteered_scores(metric))
    rows = [
        [*(text_mean(result[name, s, metric]) for s in steerings), unsteered]
        for name in (FIT, *CONTROLS)
    ]
    means = torch.tensor([[mean.value for mean in row] for row in rows], dtype=torch.float64)
    ends = torch.tensor([[mean.ends for mean in row] for row in rows], dtype=torch.float64)
    return means, ends.clamp(0, 1) if metric.startswith("distinct") else ends


def positive(
    y: Float[Tensor, "series dose"], ends: Float[Tensor, "series dose 2"]
) -> tuple[Float[Tensor, "series dose"], Float[Tensor, "series dose 2"]]:
    """What a logarithmic axis can show: intervals end at the smallest positive value.

    The line is broken where the value itself is zero.
    """
    values = torch.cat([y[..., None], ends], dim=-1)
    smallest = values.where(values > 0, torch.inf).min()
    ends = ends.where((ends > 0) | ends.isnan(), smallest).where(y[..., None] > 0, torch.nan)
    return y.where(y > 0, torch.nan), ends


def _error_bars(
    x: Float[Tensor, " dose"], ends: Float[Tensor, "dose 2"]
) -> dict[str, Float[Tensor, " point"]]:
    """Error bars as one line that is broken between them."""
    gap = torch.full_like(x, torch.nan)
    return {
        "x": rearrange([x, x, gap], "point dose -> (dose point)"),
        "y": rearrange(torch.cat([ends, gap[:, None]], dim=1), "dose point -> (dose point)"),
    }


def _without_drift(result: DoseResponse) -> Figure:
    """The next-token distribution with the drift removed, and projected out."""
    directions = (FIT, *CONTROLS)
    panels = []
    without = {Steering("remove"): "Drift removed", Steering("project"): "Drift projected out"}
    for steering, title in without.items():
        means = [text_mean(result[name, steering, "first kl"]) for name in directions]
        bars = mean_bars(means, directions)
        label = "KL of the next token, nats"
        panels.append(Panel("", label, (bars,), title, share="without"))
    return Figure(
        "without",
        tuple(panels),
        "The change of the next-token distribution when one step loses its drift, and when the "
        "state loses its part along the drift, compared with pushes of the same length in other "
        f"directions, {_intervals_over(result)}.",
    )


def _intervals_over(result: DoseResponse) -> str:
    ends = text_mean(result[FIT, result.steerings[0], "first kl"]).interval.low
    return intervals_over(counted(len(result.unsteered), "test document"), ends)
