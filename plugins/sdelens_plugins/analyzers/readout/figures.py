"""Figures and coloured words of a readout."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.language.texts import Text
from sdelens.report import Figure, Layer, Panel, Strip
from sdelens.wording import visible
from sdelens_plugins.analyzers.common.document_means import mean_bars
from sdelens_plugins.analyzers.common.intervals import intervals_over
from sdelens_plugins.analyzers.common.word_list import quoted
from sdelens_plugins.analyzers.readout.logit_change import UNITS, LogitChange
from sdelens_plugins.analyzers.readout.results import DRIFT, NOISE, ReadoutResults
from sdelens_plugins.analyzers.readout.words import Decode, changed_words

TITLES = {"network": "Through the rest of the network", "lens": "Through the unembedding alone"}
RANK_LABELS = {"sphere": "drift, random", "steps": "drift, increments", "noise": "noise, random"}
DRIFT_EFFECT = "change of the next-token distribution by the drift"
MAX_PLACES = 12
"""Places whose words can be read in one figure."""


def figures(
    decode: Decode,
    text: Text,
    local: ReadoutResults,
    overall: ReadoutResults,
    documents: int,
    by: str,
) -> tuple[Figure, ...]:
    """Words by position, divergences beside random ones, ranks over documents."""
    return (
        *(_words(decode, text, local.changes[route], route, by) for route in TITLES),
        _divergences(text, local),
        _ranks(overall, documents),
    )


def _words(decode: Decode, text: Text, change: LogitChange, route: str, by: str) -> Figure:
    """The word that the drift raises most at each place, and the one it lowers most."""
    at = text.at[-MAX_PLACES:].double()
    zero = {"x": at, "y": torch.zeros_like(at)}
    text_words = tuple(decode(text.tokens[-MAX_PLACES:].tolist()))
    layers = [Layer("scatter", zero, "the text", 2), Layer("words", zero, words=text_words)]
    sides = (
        ("raised most", change.raised, change.raised_by),
        ("lowered most", change.lowered, change.lowered_by),
    )
    for series, (name, ids, size) in enumerate(sides):
        points = {"x": at, "y": size[-MAX_PLACES:, DRIFT, 0]}
        words = changed_words(decode, ids[-MAX_PLACES:, DRIFT, 0], points["y"])
        layers += [Layer("scatter", points, name, series), Layer("words", points, words=words)]
    last = "last " if len(text.at) > MAX_PLACES else ""
    panel = Panel("token position", f"change of the {by}", tuple(layers), TITLES[route])
    return Figure(
        f"words_{route}",
        (panel,),
        f"The word that the drift raises most and the one it lowers most at each of the {last}"
        f"{len(at)} states of {text.name}"
        f"{', logits centred over the vocabulary' if by == 'logit' else ''}.",
    )


def _divergences(text: Text, result: ReadoutResults) -> Figure:
    """By position, the drift's and the noise's beside those of equally long random pushes."""
    at, kl = text.at.double(), result.changes["network"].kl
    curves = (("Drift", DRIFT, "sphere", "steps"), ("First noise direction", NOISE, "noise", None))
    panels = []
    for title, push, sphere, increments in curves:
        layers = [*_range(at, kl[:, result.null(sphere)], "random directions", 1)]
        if increments:
            layers += _range(at, kl[:, result.null(increments)], "training increments", 2)
        layers.append(Layer("line", {"x": at, "y": kl[:, push]}, "of the fit", 0))
        panels.append(Panel("token position", "KL divergence, nats", tuple(layers), title))
    return Figure(
        "divergence",
        tuple(panels),
        f"The change of the next-token distribution under a push, along {text.name}, through the "
        "rest of the network. Dashed and shaded: the median and the middle 80% of equally long "
        "pushes in other directions.",
    )


def _range(
    at: Float[Tensor, " place"], values: Float[Tensor, "place push"], label: str, series: int
) -> tuple[Layer, Layer]:
    low, middle, high = values.quantile(torch.tensor([0.1, 0.5, 0.9]).to(values), dim=1)
    return (
        Layer("band", {"x": at, "low": low, "high": high}, series=series),
        Layer("line", {"x": at, "y": middle}, label, series, dashed=True),
    )


def _ranks(result: ReadoutResults, documents: int) -> Figure:
    """The mean ranks with their intervals, and chance."""
    panels = []
    for route, title in TITLES.items():
        means = [result.ranks[route][kind] for kind in RANK_LABELS]
        span = torch.tensor([-0.5, len(means) - 0.5])
        chance = Layer("line", {"x": span, "y": torch.full((2,), 0.5)}, "chance", 1, dashed=True)
        bars = mean_bars(means, tuple(RANK_LABELS.values()), "mean rank")
        label = "share with a smaller divergence"
        panels.append(Panel("", label, (bars, chance), title, share="ranks"))
    over = f"{documents} test documents" if documents else "the one text"
    return Figure(
        "ranks",
        tuple(panels),
        "The rank of the divergence among equally long pushes in random directions, or along "
        f"increments of training texts: means {intervals_over(over, bars.values['low'])}.",
    )


def strips(
    decode: Decode, text: Text, result: ReadoutResults, words: int, by: str
) -> tuple[Strip, ...]:
    """The text coloured by the drift's effect, and the words that are raised and lowered."""
    network = result.changes["network"]
    kl = tuple(network.kl[:, DRIFT].tolist())
    text_words = tuple(decode(text.tokens.tolist()))
    notes = _notes(decode, network)
    rows = [Strip(DRIFT_EFFECT, text_words, kl, "nats", notes=notes)]
    labels = {"network": "network", "lens": "unembedding"}
    for route, change in result.changes.items():
        strip = partial(_strip, decode, UNITS[by], _common_scale(change))
        for rank in range(min(words, 3)):
            place = f"no. {rank + 1}, {labels[route]}"
            rows += [
                strip(f"drift raises, {place}", change.raised, change.raised_by, DRIFT, rank),
                strip(f"drift lowers, {place}", change.lowered, change.lowered_by, DRIFT, rank),
            ]
    for number in range(result.directions):
        for side, sign in enumerate(("one sign", "the other sign")):
            name = f"noise direction {number + 1} raises, {sign}"
            push = NOISE + 2 * number + side
            strip = partial(_strip, decode, UNITS[by], _common_scale(network))
            rows.append(strip(name, network.raised, network.raised_by, push, 0))
    return tuple(rows)


def _notes(decode: Decode, change: LogitChange) -> tuple[str, ...]:
    """The words that the drift raises and lowers most, for each place."""
    sides = (change.raised, change.raised_by), (change.lowered, change.lowered_by)
    raised, lowered = (
        [
            quoted(changed_words(decode, *place))
            for place in zip(ids[:, DRIFT], sizes[:, DRIFT], strict=True)
        ]
        for ids, sizes in sides
    )
    return tuple(f"raises {up}; lowers {down}" for up, down in zip(raised, lowered, strict=True))


def _common_scale(change: LogitChange) -> tuple[float, float]:
    """The ends of a colour scale for all words that are raised or lowered along one route."""
    end = max(float(change.raised_by.abs().max()), float(change.lowered_by.abs().max()))
    return -end, end


def _strip(
    decode: Decode,
    unit: str,
    scale: tuple[float, float],
    name: str,
    ids: Tensor,
    changes: Tensor,
    push: int,
    rank: int,
) -> Strip:
    size = changes[:, push, rank]
    words = changed_words(decode, ids[:, push, rank], size)
    # a line break is a word here, not the end of a line
    return Strip(name, tuple(map(visible, words)), tuple(size.tolist()), unit, scale)
