"""Continuations as figures: scores of every writer, surprise by step, states in the plane."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.fitting.study import Viewed
from sdelens.report import Figure, Layer, Panel, counted
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents
from sdelens_plugins.analyzers.generate.continuations import (
    DECODERS,
    FIT,
    IID,
    OWN,
    SAMPLED,
    WALK,
    GeneratedTexts,
    key,
    metric,
)
from sdelens_plugins.analyzers.generate.text_metrics import Decode

UNITS = {
    "nats": "nats per word",
    "bleu": "of 1",
    "rouge1": "of 1",
    "rougeL": "of 1",
    "distinct1": "of 1",
    "distinct2": "of 1",
}
SHOWN = {"nats": "nats per word", "bleu": "BLEU", "rougeL": "ROUGE-L", "distinct2": "distinct-2"}
HOW = {"network": "said by the rest of the network", "nearest": "of the nearest training states"}


def figures(
    viewed: Viewed,
    decode: Decode,
    shown: GeneratedTexts,
    many: Sequence[GeneratedTexts],
    scores: Mapping[str, Float[Tensor, "text metric"]],
) -> tuple[Figure, ...]:
    """Of the prompt in the plane, and of the documents."""
    plane = [_plane(viewed, decode, shown)] if viewed.fitted.basis.latent > 1 else []
    return (*plane, *(_scores(scores, decoder) for decoder in DECODERS), _steps(many))


def _scores(scores: Mapping[str, Float[Tensor, "text metric"]], decoder: str) -> Figure:
    rows = {"fit": key(FIT, decoder), "walk": key(WALK, decoder), "i.i.d.": key(IID, decoder)}
    rows["model"] = SAMPLED
    x = torch.arange(len(rows)).double()
    panels = []
    for name, label in SHOWN.items():
        found = [_average(metric(scores[row], name)) for row in rows.values()]
        ends = torch.tensor([one.ends for one in found], dtype=torch.float64)
        values = torch.tensor([one.value for one in found], dtype=torch.float64)
        bars = {"x": x, "y": values, "low": ends[:, 0], "high": ends[:, 1]}
        panels.append(Panel("", label, (Layer("bars", bars, words=tuple(rows)),)))
    texts = counted(len(scores[SAMPLED]), "text")
    return Figure(
        f"scores_{decoder}",
        tuple(panels),
        f"Words {HOW[decoder]} under the fit, a random walk and i.i.d. states per position, and "
        f"words drawn from the model itself, over {texts} with 95% intervals. BLEU and ROUGE-L "
        "are against the model's likeliest continuation.",
    )


def _average(values: Float[Tensor, " text"]) -> DocumentMean:
    return DocumentMean.of(values, torch.arange(len(values)))


def _steps(many: Sequence[GeneratedTexts]) -> Figure:
    """The model's surprise by step, of the words that the network says."""
    least = min(one.nats[OWN].shape[1] for one in many)
    x = torch.arange(1, least + 1).double()
    rows = {FIT: key(FIT, "network"), WALK: key(WALK, "network"), IID: key(IID, "network")}
    layers: list[Layer] = []
    for series, (label, row) in enumerate({**rows, SAMPLED: SAMPLED, OWN: OWN}.items()):
        y = torch.stack([one.nats[row][:, :least].mean(0) for one in many]).mean(0)
        layers.append(Layer("line", {"x": x, "y": y}, label, series, dashed=series > 0))
    return Figure(
        "steps",
        (Panel("words after the prompt", "nats per word", tuple(layers)),),
        "The model's surprise at each word that the rest of the network says for simulated "
        f"states, and at its own words, by step; means over {counted(len(many), 'text')}.",
    )


def _plane(viewed: Viewed, decode: Decode, shown: GeneratedTexts) -> Figure:
    """The prompt's own states, then the fit's first path with its words."""
    plane = PrincipalComponents.plane(viewed.train)
    own = plane.project(shown.text.states)
    path = plane.project(shown.paths[FIT][0].nan_to_num(0.0, 0.0, 0.0))
    words = decode(shown.words[key(FIT, "network")][0].tolist())
    layers = (
        *_trail(own, "the prompt", 0, dashed=True),
        Layer("words", _columns(own), words=tuple(decode(shown.text.tokens.tolist()))),
        *_trail(path, "the fit", 1),
        # a state's word is the one that follows it
        Layer("words", _columns(path[:-1]), words=tuple(f"→{word.lstrip(' ')}" for word in words)),
    )
    x, y = plane.labels
    return Figure(
        "plane",
        (Panel(x, y, layers),),
        "The states of the prompt and one simulated path. At the prompt's states "
        "stand its own words; after an arrow, the word that the rest of the network says next.",
    )


def _columns(points: Float[Tensor, "time 2"]) -> dict[str, Tensor]:
    return {"x": points[:, 0], "y": points[:, 1]}


def _trail(
    points: Float[Tensor, "time 2"], label: str, series: int, *, dashed: bool = False
) -> tuple[Layer, Layer]:
    line = Layer("line", _columns(points), label, series, dashed=dashed)
    return line, Layer("scatter", _columns(points), series=series)
