"""Figures of generated texts: scores, surprisal by step, and states in the plane."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.fitting.study import Viewed
from sdelens.report import Figure, Layer, Panel
from sdelens.wording import counted
from sdelens_plugins.analyzers.common.document_means import mean_bars
from sdelens_plugins.analyzers.common.intervals import intervals_over
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents
from sdelens_plugins.analyzers.generate.continuations import (
    DECODERS,
    FIT,
    IID,
    OWN,
    SAMPLED,
    WALK,
    Continuations,
    key,
)
from sdelens_plugins.analyzers.generate.results import GenerateResults

PANELS = {"nats": "nats per word", "bleu": "BLEU", "rougeL": "ROUGE-L", "distinct2": "distinct-2"}
DECODED = {
    "network": "decoded by the rest of the network",
    "nearest": "of the nearest training states",
}


def figures(viewed: Viewed, results: GenerateResults) -> tuple[Figure, ...]:
    """The prompt in the plane, scores by decoder, and surprisal by step."""
    plane = [_plane(viewed, results)] if viewed.fitted.basis.latent > 1 else []
    scores = (_scores(results, decoder) for decoder in DECODERS)
    return (*plane, *scores, _steps(results.scored))


def _scores(results: GenerateResults, decoder: str) -> Figure:
    rows = {"fit": key(FIT, decoder), "walk": key(WALK, decoder), "i.i.d.": key(IID, decoder)}
    rows["model"] = SAMPLED
    panels = tuple(
        Panel("", label, (mean_bars([results.mean(r, name) for r in rows.values()], list(rows)),))
        for name, label in PANELS.items()
    )
    ends = results.mean(key(FIT, decoder), "nats").interval.low
    drawn = intervals_over(counted(len(results.scored), "text"), ends)
    return Figure(
        f"scores_{decoder}",
        panels,
        f"Words {DECODED[decoder]} under the fit, a random walk and i.i.d. states per position, "
        f"and words sampled from the model, {drawn}. BLEU and ROUGE-L compare with the model's "
        "most likely continuation.",
    )


def _steps(texts: Sequence[Continuations]) -> Figure:
    """The surprisal by step of the words decoded by the network."""
    shortest = min(each.nats[OWN].shape[1] for each in texts)
    x = torch.arange(1, shortest + 1).double()
    rows = {FIT: key(FIT, "network"), WALK: key(WALK, "network"), IID: key(IID, "network")}
    layers: list[Layer] = []
    for series, (label, row) in enumerate({**rows, SAMPLED: SAMPLED, OWN: OWN}.items()):
        y = torch.stack([each.nats[row][:, :shortest].mean(0) for each in texts]).mean(0)
        layers.append(Layer("line", {"x": x, "y": y}, label, series, dashed=series > 0))
    return Figure(
        "steps",
        (Panel("words after the prompt", "nats per word", tuple(layers)),),
        "Surprisal under the model of the words that the rest of the network decodes from "
        "simulated states, and of its own words, by step. Means over "
        f"{counted(len(texts), 'text')}.",
    )


def _plane(viewed: Viewed, results: GenerateResults) -> Figure:
    """The states of the prompt, then the first path of the fit with its words."""
    plane, first = PrincipalComponents.plane(viewed.train), results.first
    prompt = plane.project(first.text.states)
    path = plane.project(first.paths[FIT][0].nan_to_num(0.0, 0.0, 0.0))
    words = results.decode(first.words[key(FIT, "network")][0].tolist())
    layers = (
        *_trail(prompt, "the prompt", 0, dashed=True),
        Layer("words", _columns(prompt), words=tuple(results.decode(first.text.tokens.tolist()))),
        *_trail(path, "the fit", 1),
        # the word of a state is the one that follows it
        Layer("words", _columns(path[:-1]), words=tuple(f"→{word.lstrip(' ')}" for word in words)),
    )
    x, y = plane.labels
    return Figure(
        "plane",
        (Panel(x, y, layers),),
        "The states of the prompt with its words, and one simulated path; after an arrow, the "
        "next word that the rest of the network decodes.",
    )


def _columns(points: Float[Tensor, "time 2"]) -> dict[str, Tensor]:
    return {"x": points[:, 0], "y": points[:, 1]}


def _trail(
    points: Float[Tensor, "time 2"], label: str, series: int, *, dashed: bool = False
) -> tuple[Layer, Layer]:
    line = Layer("line", _columns(points), label, series, dashed=dashed)
    return line, Layer("scatter", _columns(points), series=series)
