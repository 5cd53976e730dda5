"""What pushes of states say, as figures and as coloured words."""

from collections.abc import Mapping
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.language.texts import Text
from sdelens.report import Figure, Layer, Panel, Strip
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.readout.logit_change import UNITS, LogitChange
from sdelens_plugins.analyzers.readout.summary import ReadoutSummary
from sdelens_plugins.analyzers.readout.words import Decode, named

TITLES = {"network": "Through the rest of the network", "lens": "Through the unembedding alone"}
MOST = 12
"""Places whose words can be read in one figure."""


def figures(
    decode: Decode,
    text: Text,
    read: ReadoutSummary,
    ranks: Mapping[str, Mapping[str, DocumentMean]],
    documents: int,
    by: str,
) -> tuple[Figure, ...]:
    """Words by position, divergences beside random ones, ranks over documents."""
    return (
        *(_words(decode, text, read.said[way], way, by) for way in TITLES),
        _divergences(text, read),
        _ranks(ranks, documents),
    )


def _words(decode: Decode, text: Text, said: LogitChange, way: str, by: str) -> Figure:
    """The word that the drift raises most at each place, and the one it lowers most."""
    at = text.at[-MOST:].double()
    zero = {"x": at, "y": torch.zeros_like(at)}
    own = tuple(decode(text.tokens[-MOST:].tolist()))
    layers = [Layer("scatter", zero, "the text", 2), Layer("words", zero, words=own)]
    sides = (
        ("raised most", said.raised, said.raised_by),
        ("lowered most", said.lowered, said.lowered_by),
    )
    for series, (name, ids, change) in enumerate(sides):
        points = {"x": at, "y": change[-MOST:, 0, 0]}
        spoken = named(decode, ids[-MOST:, 0, 0], points["y"])
        layers += [Layer("scatter", points, name, series), Layer("words", points, words=spoken)]
    last = "last " if len(text.at) > MOST else ""
    panel = Panel("token position", f"change of the {by}", tuple(layers), TITLES[way])
    return Figure(
        f"words_{way}",
        (panel,),
        f"The word that the drift raises most and the one it lowers most at each of the {last}"
        f"{len(at)} states of {text.name}"
        f"{', logits centred over the vocabulary' if by == 'logit' else ''}.",
    )


def _divergences(text: Text, read: ReadoutSummary) -> Figure:
    """By position, the drift's and the noise's beside those of random directions as long."""
    at = text.at.double()
    pairs = (("Drift", 0, "sphere", "steps"), ("First noise direction", 1, "noise", None))
    panels = []
    for title, own, kind, harder in pairs:
        kl = read.said["network"].kl
        layers = [*_range(at, kl[:, read.null(kind)], "random directions", 1)]
        if harder:
            layers += _range(at, kl[:, read.null(harder)], "training increments", 2)
        layers.append(Layer("line", {"x": at, "y": kl[:, own]}, "of the fit", 0))
        label = "KL divergence, nats"
        panels.append(Panel("token position", label, tuple(layers), title))
    return Figure(
        "divergence",
        tuple(panels),
        f"By how much a push changes the law of the next word along {text.name}, through the rest "
        "of the network. Dashed and shaded: the median and the middle 80% of equally long pushes "
        "in other directions.",
    )


def _range(
    at: Float[Tensor, " place"], values: Float[Tensor, "place push"], label: str, series: int
) -> tuple[Layer, Layer]:
    low, middle, high = values.quantile(torch.tensor([0.1, 0.5, 0.9]).to(values), dim=1)
    return (
        Layer("band", {"x": at, "low": low, "high": high}, series=series),
        Layer("line", {"x": at, "y": middle}, label, series, dashed=True),
    )


def _ranks(ranks: Mapping[str, Mapping[str, DocumentMean]], documents: int) -> Figure:
    """The mean ranks with their intervals, and chance."""
    short = {"sphere": "drift, random", "steps": "drift, increments", "noise": "noise, random"}
    panels = []
    for way, title in TITLES.items():
        found = [ranks[way][kind] for kind in short]
        x = torch.arange(len(found)).double()
        ends = torch.tensor([one.ends for one in found], dtype=torch.float64)
        values = torch.tensor([one.value for one in found], dtype=torch.float64)
        bars = {"x": x, "y": values, "low": ends[:, 0], "high": ends[:, 1]}
        span = torch.tensor([-0.5, len(found) - 0.5])
        chance = Layer("line", {"x": span, "y": torch.full((2,), 0.5)}, "chance", 1, dashed=True)
        layers = (Layer("bars", bars, "mean rank", words=tuple(short.values())), chance)
        panels.append(Panel("", "share with a smaller divergence", layers, title))
    over = f"{documents} test documents" if documents else "the one text"
    return Figure(
        "ranks",
        tuple(panels),
        "The rank of the divergence among equally long pushes in random directions, or along "
        f"increments of training texts: means over {over} with 95% intervals.",
    )


def strips(
    decode: Decode, text: Text, read: ReadoutSummary, words: int, by: str
) -> tuple[Strip, ...]:
    """The text coloured by what the drift changes, and the words that are raised and lowered."""
    network = read.said["network"]
    kl = tuple(network.kl[:, 0].tolist())
    own = tuple(decode(text.tokens.tolist()))
    found = [Strip("change of the next word's law by the drift", own, kl, "nats")]
    labels = {"network": "network", "lens": "unembedding"}
    strip = partial(_strip, decode, UNITS[by])
    for way, said in read.said.items():
        for rank in range(min(words, 3)):
            place = f"no. {rank + 1}, {labels[way]}"
            found += [
                strip(f"drift raises, {place}", said.raised, said.raised_by, 0, rank),
                strip(f"drift lowers, {place}", said.lowered, said.lowered_by, 0, rank),
            ]
    for number in range(read.directions):
        for side, way in enumerate(("one way", "the other way")):
            name = f"noise direction {number + 1} raises, {way}"
            push = 1 + 2 * number + side
            found.append(strip(name, network.raised, network.raised_by, push, 0))
    return tuple(found)


def _strip(
    decode: Decode, unit: str, name: str, ids: Tensor, by: Tensor, push: int, rank: int
) -> Strip:
    changes = by[:, push, rank]
    return Strip(name, named(decode, ids[:, push, rank], changes), tuple(changes.tolist()), unit)
