"""Measures of tokens as figures: bars by word, attention and attributions as heat maps."""

from collections.abc import Mapping

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from sdelens.report import Figure, Layer, Panel, visible
from sdelens_plugins.analyzers.importance.agreement import Agreement
from sdelens_plugins.analyzers.importance.attention import received, to_first
from sdelens_plugins.analyzers.importance.measures import LABELS, ImportanceMeasures

LATENT = "latent units per step"
NARROW = 12
"""Words that can be read below a narrow panel."""


def figures(
    name: str,
    words: tuple[str, ...],
    first: int,
    shown: ImportanceMeasures,
    agreed: Mapping[str, Agreement],
    weights: Float[Tensor, "layer head time time"] | None,
) -> tuple[Figure, ...]:
    """All that can be shown of the text, and the agreement over documents."""
    signs = tuple(map(visible, words))
    found = [_norms(name, signs, first, shown)]
    if weights is not None and len(signs) > 1:
        found += [_attention(name, signs, weights), _sink(name, signs, weights)]
    found += [_last(name, signs, first, shown), _sources(name, signs, first, shown)]
    return (*found, *([_agreement(agreed)] if agreed else []))


def _by_word(
    label: str, signs: tuple[str, ...], first: int, values: Tensor, title: str = ""
) -> Panel:
    x = torch.arange(first, len(signs)).double()
    bars = Layer("bars", {"x": x, "y": values[first:]}, words=signs[first:])
    return Panel("token", label, (bars,), title)


def _norms(name: str, signs: tuple[str, ...], first: int, shown: ImportanceMeasures) -> Figure:
    panels = (
        _by_word("L2 norm of the embedding", signs, first, shown.measures["embedding"][-1]),
        _by_word("L2 norm of the state", signs, first, shown.measures["state"][-1]),
    )
    caption = f"The length of each token's embedding, and of the state after it, along {name}."
    return Figure("norms", panels, caption)


def _attention(
    name: str, signs: tuple[str, ...], weights: Float[Tensor, "layer head time time"]
) -> Figure:
    """Without the first position, whose share would leave no colour for the others."""
    layers, heads, _, length = weights.shape
    x = torch.arange(length).double()
    first = ("sink", *signs[1:])
    by_layer = received(weights.mean(1))
    by_head = rearrange(weights[:, :, -1], "layer head time -> (layer head) time").clone()
    by_layer[:, 0] = by_head[:, 0] = torch.nan
    rows = torch.arange(layers * heads).double() / heads
    parts = (
        (torch.arange(layers).double(), by_layer, "of an even share", "Received"),
        (rows, by_head, "weight", "Paid by the last token"),
    )
    panels = tuple(
        Panel("", "layer", (Layer("heat", {"x": x, "y": y, "z": z}, label, words=first),), title)
        for y, z, label, title in parts
    )
    return Figure(
        "attention",
        panels,
        f"Attention along {name}, the first position left blank. Left: what each token receives "
        f"in each layer, all heads together. Right: what the last token pays, the {heads} heads "
        "of a layer as rows above each other.",
    )


def _sink(
    name: str, signs: tuple[str, ...], weights: Float[Tensor, "layer head time time"]
) -> Figure:
    share = to_first(weights)
    layers, heads = share.shape
    where = {"x": torch.arange(heads).double(), "y": torch.arange(layers).double(), "z": share}
    return Figure(
        "sink",
        (Panel("head", "layer", (Layer("heat", where, "mean weight"),)),),
        f"The attention that later tokens of {name} pay to its first position, {signs[0]}: near 1 "
        "a head rests there.",
    )


def _last(name: str, signs: tuple[str, ...], first: int, shown: ImportanceMeasures) -> Figure:
    first = max(first, len(signs) - NARROW)
    kinds = [kind for kind in LABELS if kind.startswith("drift.") and kind in shown.measures]
    panels = tuple(
        _by_word(LATENT, signs, first, shown.measures[kind][-1], LABELS[kind].partition(",")[0])
        for kind in kinds
    )
    return Figure(
        "drift_last",
        panels,
        f"What each of the last tokens adds to the length of the drift at the last state of "
        f"{name}: to first order, along the way from the baseline, and when it is "
        "replaced.",
    )


def _sources(name: str, signs: tuple[str, ...], first: int, shown: ImportanceMeasures) -> Figure:
    """Which token moves which state's drift and noise."""
    kind = "integrated" if "drift.integrated" in shown.measures else "occlusion"
    x = torch.arange(first, len(signs)).double()
    panels = []
    for part, title in {"drift": "Drift", "noise": "Size of the noise"}.items():
        values = shown.measures.get(f"{part}.{kind}")
        if values is None:
            continue
        seen = values.masked_fill(~shown.seen, torch.nan)[:, first:]
        where = {"x": x, "y": shown.at.double(), "z": seen}
        heat = Layer("heat", where, LATENT, words=signs[first:])
        panels.append(Panel("token", "position of the state", (heat,), title))
    return Figure(
        "sources",
        tuple(panels),
        f"What each token of {name} (columns) adds to the length of the drift, and to the size of "
        f"the noise where it varies, at each state (rows), by {LABELS[f'drift.{kind}'][:-7]}.",
    )


def _agreement(agreed: Mapping[str, Agreement]) -> Figure:
    x = torch.arange(len(agreed)).double()
    values = torch.tensor([one.tau.value for one in agreed.values()], dtype=torch.float64)
    ends = torch.tensor([one.tau.ends for one in agreed.values()], dtype=torch.float64)
    chance = torch.tensor([one.chance for one in agreed.values()], dtype=torch.float64)
    bars = {"x": x, "y": values, "low": ends[:, 0], "high": ends[:, 1]}
    layers = (
        Layer("band", {"x": x, "low": -chance, "high": chance}, "chance, 95%", series=1),
        Layer("bars", bars, "mean over texts", words=tuple(LABELS[name] for name in agreed)),
    )
    return Figure(
        "agreement",
        (Panel("", "Kendall's tau", layers),),
        "Agreement of each ranking of tokens with that by occlusion of the drift, with 95% "
        "intervals over texts, and what shuffled rankings reach.",
    )
