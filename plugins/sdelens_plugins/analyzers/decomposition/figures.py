"""Figures of the decomposition: stacked shares by layer, class and position, with intervals."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.interval import Interval
from sdelens.report import Figure, Layer, Panel
from sdelens.wording import counted
from sdelens_plugins.analyzers.common.intervals import intervals_over, line_with_band
from sdelens_plugins.analyzers.decomposition.results import (
    BY_LAYER,
    GIVEN,
    LABELS,
    DecompositionResults,
)

RETURN, BEYOND = "return to the mean", "drift beyond it"
SERIES = {name: min(number, 4) for number, name in enumerate(LABELS)} | {
    "mismatch": 3,
    RETURN: 0,
    BEYOND: 5,
}
LARGE = ("drift", "sampling_noise", "model_residual")
SHARE = "share of the motion"


def figures(results: DecompositionResults) -> tuple[Figure, ...]:
    """Stacked shares by layer, the same with intervals, and by common class and position."""
    several = (_intervals(results),) if len(results.views) > 1 else ()
    all_figures = (_stacked(results), *several, _groups(results))
    return tuple(figure for figure in all_figures if figure.panels)


def _stacked(results: DecompositionResults) -> Figure:
    shares = torch.stack([layer.shares.value[0] for layer in results.layers])
    reversion = torch.stack([layer.reversion.value[0] for layer in results.layers])
    bars = _bars(results, shares, reversion, [str(view) for view in results.views])
    panel = Panel("", SHARE, bars)
    return Figure(
        BY_LAYER,
        (panel,),
        "Parts of the motion from one token's state to the next, by layer "
        f"({counted(results.layers[0].units, 'held-out document')}). From below: what the "
        "return to the mean alone predicts; what the fit predicts beyond it, perhaps negative; "
        "what a larger probe on the same state adds; what earlier states add; "
        f"{_rest(results)} The figure does not show that the motion is a diffusion, nor that the "
        "unexplained part cannot be predicted.",
    )


def _rest(results: DecompositionResults) -> str:
    if results.names[-1] == "sampling_noise":
        return (
            "the rest of the model's expected motion, which none of them predicts; and the noise "
            "of sampling the next token, which nothing can predict."
        )
    return "the mismatch of text and model; and what the model's own next tokens would leave."


def _bars(
    results: DecompositionResults,
    shares: Float[Tensor, "bar part"],
    reversion: Float[Tensor, " bar"],
    words: Sequence[str],
) -> tuple[Layer, ...]:
    """Stacked bars: positive parts upwards from zero, negative parts downwards.

    The drift is split into the return to the mean and what it predicts beyond that.
    """
    names = (RETURN, BEYOND, *results.names[1:])
    parts = torch.cat([torch.stack([reversion, shares[:, 0] - reversion], 1), shares[:, 1:]], 1)
    x = torch.arange(len(words)).double()
    above, below = parts.clamp(min=0), parts.clamp(max=0)
    base = (above.cumsum(1) - above).where(parts >= 0, below.cumsum(1) - below)
    return tuple(
        Layer(
            "bars",
            {"x": x, "y": parts[:, k], "base": base[:, k]},
            LABELS.get(name, name),
            SERIES[name],
            words=tuple(words),
        )
        for k, name in enumerate(names)
    )


def _intervals(results: DecompositionResults) -> Figure:
    large = [k for k, name in enumerate(results.names) if name in LARGE]
    small = [k for k in range(len(results.names)) if k not in large]
    panels = tuple(
        Panel("layer", SHARE, tuple(_lines(results, parts)), title)
        for parts, title in ((large, "Large parts"), (small, "Small parts"))
    )
    drawn = intervals_over("held-out documents", results.layers[0].shares.low)
    caption = f"The same shares {drawn}, {GIVEN}. The scales differ."
    return Figure("intervals", panels, caption)


def _lines(results: DecompositionResults, parts: Sequence[int]) -> list[Layer]:
    layers: list[Layer] = []
    for k in parts:
        shares = Interval.stack(layer.shares[0, k] for layer in results.layers)
        name = results.names[k]
        layers += line_with_band(results.x, shares, LABELS[name], SERIES[name])
    return layers


def _groups(results: DecompositionResults) -> Figure:
    shown = results.layers[results.main]
    names = [name.removeprefix("positions ") for name in results.held.names]
    panels = tuple(
        Panel(
            "",
            SHARE,
            _bars(
                results,
                shown.shares.value[groups],
                shown.reversion.value[groups],
                [names[k] for k in groups],
            ),
            title,
        )
        for groups, title in zip(
            results.held.common_groups(shown.count),
            ("By the last token", "By position"),
            strict=True,
        )
        if groups
    )
    caption = (
        f"The same parts at {results.views[results.main]}, by class and by position of the last "
        "token of the prefix. Each bar shows shares of its own motion; the coefficients are those "
        "of all prefixes. Parts below zero are negative, and the parts above sum to 1 less them."
    )
    return Figure("groups", panels, caption)
