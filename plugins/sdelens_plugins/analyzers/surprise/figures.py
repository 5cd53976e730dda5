"""Figures and coloured tokens of out-of-distribution detection by surprise."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.interval import Interval
from sdelens.report import Figure, Layer, Panel, Strip
from sdelens_plugins.analyzers.common.intervals import bars, intervals_over, line_with_band
from sdelens_plugins.analyzers.common.observed_path import ENTROPY
from sdelens_plugins.analyzers.surprise.comparison_texts import TEST, ComparisonTexts
from sdelens_plugins.analyzers.surprise.detection import Detection
from sdelens_plugins.analyzers.surprise.path_surprise import PathSurprise
from sdelens_plugins.analyzers.surprise.results import PART_NAMES, SurpriseResults
from sdelens_plugins.analyzers.surprise.stability import PARTS, Stability

OF_FIT = "surprise of the fit"


def figures(result: SurpriseResults) -> tuple[Figure, ...]:
    """Areas, documents, norms by position, and surprisal along the path."""
    return (
        _areas(result.detection),
        _documents(result.detection),
        _stability(result.stability),
        _path(result.path),
    )


def strips(path: PathSurprise) -> tuple[Strip, ...]:
    """The path coloured by the fit's and by the model's surprisal, and by the model's entropy."""
    rows = (
        (OF_FIT, path.fit, "nats/dimension"),
        ("surprise of the model", path.model, "nats"),
        (ENTROPY, path.entropy, "nats"),
    )
    return tuple(Strip(name, path.words, tuple(nats.tolist()), unit) for name, nats, unit in rows)


def _areas(detection: Detection) -> Figure:
    words = detection.names
    ends = torch.tensor([-0.5, len(words) - 0.5]).double()
    chance = Layer("line", {"x": ends, "y": torch.full((2,), 0.5)}, "chance", 1, dashed=True)
    panels = tuple(
        Panel(
            "",
            "AUROC",
            (bars(Interval.stack(areas.values()), words), chance),
            title,
            share="auroc",
        )
        for areas, title in (
            (detection.fit, "Fit"),
            (detection.model, "Perplexity of the model"),
        )
    )
    return Figure(
        "auroc",
        panels,
        "How well nats per token separate each kind of text from test documents, "
        f"{intervals_over('documents', ends_of(detection.fit))}: of states under the fit, and of "
        "tokens under the language model.",
    )


def ends_of(intervals: Mapping[str, Interval]) -> Float[Tensor, " kind"]:
    """The lower ends of all intervals."""
    return Interval.stack(intervals.values()).low


def _documents(detection: Detection) -> Figure:
    corrupted = [name for name, texts in detection.kinds.items() if texts.paired]
    others = [TEST, *(name for name, texts in detection.kinds.items() if not texts.paired)]
    panels = tuple(
        Panel(
            "model, nats per token",
            "fit, nats per dimension",
            tuple(
                _points(texts, name, series)
                for series, (name, texts) in enumerate(detection.kinds.items())
                if name in names
            ),
            title,
            share="documents",
        )
        for title, names in (("Corrupted test documents", corrupted), ("Other texts", others))
        if len(names) > 1
    )
    return Figure(
        "documents",
        panels,
        "Each point is one text: its mean surprisal under the fit against that of its tokens "
        "under the language model.",
    )


def _points(texts: ComparisonTexts, name: str, series: int) -> Layer:
    return Layer("scatter", {"x": texts.model, "y": texts.fit}, name, series)


def _stability(stability: Stability) -> Figure:
    panels = []
    for part, kinds in stability.by_position.items():
        layers = [
            layer
            for series, (name, interval) in enumerate(kinds.items())
            for layer in line_with_band(stability.positions, interval, name, series)
        ]
        panels.append(Panel("position", f"{PART_NAMES[part]} over training's", tuple(layers)))
    return Figure(
        "stability",
        tuple(panels),
        "Root mean squares of standardised states (about the training mean) and of one-step "
        "residuals, relative to those of training documents, by position, "
        f"{intervals_over('documents', ends_of(stability.overall[PARTS[0]]))}.",
    )


def _path(path: PathSurprise) -> Figure:
    x = path.path.times.double()
    panels = tuple(
        Panel("position", label, (Layer("line", {"x": x, "y": y}),), title)
        for title, label, y in (
            ("Fit", "nats per dimension", path.fit),
            ("Language model", "nats", path.model),
        )
    )
    return Figure(
        "along",
        panels,
        f"{path.path.span}: the surprisal of the state at each position under the fit, and of the "
        "token there under the language model, given the text before it.",
    )
