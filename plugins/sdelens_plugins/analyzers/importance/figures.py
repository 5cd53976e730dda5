"""Figures of token importance: bars by word, attention and attributions as heat maps."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sdelens.report import Figure, Layer, Panel
from sdelens.wording import visible
from sdelens_plugins.analyzers.common.document_means import mean_bars
from sdelens_plugins.analyzers.common.intervals import intervals_over
from sdelens_plugins.analyzers.importance.agreement import Agreement
from sdelens_plugins.analyzers.importance.attention import received, to_first
from sdelens_plugins.analyzers.importance.measures import LABELS
from sdelens_plugins.analyzers.importance.results import ImportanceResults

LATENT = "latent units per step"
MAX_WORDS = 12
"""The number of the last words whose contributions are drawn."""


def figures(results: ImportanceResults) -> tuple[Figure, ...]:
    """Figures of the text, and the agreement of rankings over documents."""
    words = tuple(map(visible, results.words))
    all_figures = [_norms(results, words)]
    if results.attention is not None and len(words) > 1:
        name = results.text.name
        all_figures.append(_attention(name, words, results.attention))
        all_figures.append(_sink(name, words, results.attention))
    all_figures += [_last_state(results, words), _by_state(results, words)]
    if results.agreements:
        all_figures.append(_agreement(results.agreements))
    return tuple(all_figures)


def _by_word(
    label: str,
    words: tuple[str, ...],
    first: int,
    values: Tensor,
    title: str = "",
    share: str = "",
) -> Panel:
    x = torch.arange(first, len(words)).double()
    bars = Layer("bars", {"x": x, "y": values[first:]}, words=words[first:])
    return Panel("token", label, (bars,), title, share=share)


def _norms(results: ImportanceResults, words: tuple[str, ...]) -> Figure:
    values = results.text_measures.values
    panels = (
        _by_word("L2 norm of the embedding", words, results.first, values["embedding"][-1]),
        _by_word("L2 norm of the state", words, results.first, values["state"][-1]),
    )
    caption = f"Norms of each token's embedding and of the state after it, in {results.text.name}."
    return Figure("norms", panels, caption)


def _attention(name: str, words: tuple[str, ...], weights: Tensor) -> Figure:
    """The attention without the first position, whose share would dominate the colour scale."""
    layers, _, _, length = weights.shape
    x = torch.arange(length).double()
    labels = ("sink", *words[1:])
    averaged = weights.mean(1)
    all_tokens, last = received(averaged), averaged[:, -1].clone()
    all_tokens[:, 0] = last[:, 0] = torch.nan
    rows = torch.arange(layers).double()
    maps = (
        (all_tokens, "of an even share", "Received"),
        (last, "weight", "Of the last token"),
    )
    panels = tuple(
        Panel(
            "", "layer", (Layer("heat", {"x": x, "y": rows, "z": z}, label, words=labels),), title
        )
        for z, label, title in maps
    )
    return Figure(
        "attention",
        panels,
        f"Attention in {name} by layer, averaged over heads and without the first position: what "
        "each token receives from all later ones, and from the last token.",
    )


def _sink(name: str, words: tuple[str, ...], weights: Tensor) -> Figure:
    share = to_first(weights)
    layers, heads = share.shape
    grid = {"x": torch.arange(heads).double(), "y": torch.arange(layers).double(), "z": share}
    return Figure(
        "sink",
        (Panel("head", "layer", (Layer("heat", grid, "mean weight"),)),),
        f"Mean attention of later tokens of {name} to the first position, {words[0]}. Near 1 a "
        "head attends to nothing else.",
    )


def _last_state(results: ImportanceResults, words: tuple[str, ...]) -> Figure:
    first, values = max(results.first, len(words) - MAX_WORDS), results.text_measures.values
    names = [name for name in LABELS if name.startswith("drift.") and name in values]
    panels = tuple(
        _by_word(LATENT, words, first, values[name][-1], LABELS[name].partition(",")[0], LATENT)
        for name in names
    )
    return Figure(
        "drift_last",
        panels,
        "Contribution of each of the last tokens to the length of the drift at the last state of "
        f"{results.text.name}: to first order, along the path from the baseline, and by "
        "replacement.",
    )


def _by_state(results: ImportanceResults, words: tuple[str, ...]) -> Figure:
    """Contributions of tokens to the drift and the noise at every state."""
    measures, first = results.text_measures, results.first
    method = "integrated" if "drift.integrated" in measures.values else "occlusion"
    x = torch.arange(first, len(words)).double()
    panels = []
    for part, title in {"drift": "Drift", "noise": "Size of the noise"}.items():
        values = measures.values.get(f"{part}.{method}")
        if values is None:
            continue
        compared = values.masked_fill(~measures.compared, torch.nan)[:, first:]
        grid = {"x": x, "y": measures.at.double(), "z": compared}
        heat = Layer("heat", grid, LATENT, words=words[first:], signed=True)
        panels.append(Panel("token", "position of the state", (heat,), title))
    label = LABELS[f"drift.{method}"].removesuffix(", drift")
    return Figure(
        "sources",
        tuple(panels),
        f"Contribution of each token of {results.text.name} (columns) to the length of the drift, "
        f"and to the size of the noise if it varies, at each state (rows), by {label}.",
    )


def _agreement(agreements: Mapping[str, Agreement]) -> Figure:
    x = torch.arange(len(agreements)).double()
    chance = torch.tensor([each.chance for each in agreements.values()], dtype=torch.float64)
    bars = mean_bars(
        [each.tau for each in agreements.values()],
        [LABELS[name] for name in agreements],
        "mean over texts",
    )
    layers = (
        Layer("band", {"x": x, "low": -chance, "high": chance}, "chance, 95%", series=1),
        bars,
    )
    return Figure(
        "agreement",
        (Panel("", "Kendall's tau", layers),),
        "Agreement of each ranking of tokens with that by occlusion of the drift, "
        f"{intervals_over('texts', bars.values['low'])}, and the range of shuffled rankings.",
    )
