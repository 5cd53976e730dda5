"""Measures of the importance of each token of some texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.language.texts import Text, required_model
from sdelens.protocols import LanguageModel, Site
from sdelens_plugins.analyzers.importance.attention import attention, received
from sdelens_plugins.analyzers.importance.attribution import (
    EMBED,
    Response,
    adaptive_integrated_gradients,
    gradient_times_input,
    occlusion,
)

Values = Float[Tensor, "row time"]
LABELS = {
    "recency": "recency alone",
    "embedding": "embedding norm",
    "state": "state norm",
    "attention_received": "attention received",
    "attention_from_last": "attention of the last token",
    "drift.gradient": "gradient x input, drift",
    "drift.integrated": "integrated gradients, drift",
    "drift.occlusion": "occlusion, drift",
    "noise.gradient": "gradient x input, noise",
    "noise.integrated": "integrated gradients, noise",
    "noise.occlusion": "occlusion, noise",
}
"""The labels of all measures, in order of display."""


@dataclass(frozen=True, eq=False)
class ImportanceMeasures:
    """Measures of the importance of each token for the state at one position of each text."""

    compared: Bool[Tensor, "row time"]
    """The tokens that are compared: those recorded, up to the position."""
    at: Int[Tensor, " row"]
    """The position."""
    values: Mapping[str, Values]
    """The values by measure."""
    gap: Float[Tensor, " row"] | None
    """The gap of the drift's integrated gradients; None without gradients."""
    notes: tuple[str, ...]

    def last_share(self, name: str) -> Float[Tensor, " row"]:
        """The share of a measure, in absolute value, of the token at the position itself."""
        size = self.values[name].abs() * self.compared
        return size.gather(1, self.at[:, None])[:, 0] / size.sum(1)

    def even_share(self) -> Float[Tensor, " row"]:
        """That share if all tokens mattered equally."""
        return 1 / self.compared.sum(1)


def measure_texts(
    study: Study, texts: Sequence[Text], baseline: Tensor, nodes: int
) -> ImportanceMeasures:
    """The measures of each text for its last state."""
    tokens = pad_sequence([text.ids for text in texts], batch_first=True)
    at = torch.stack([text.at[-1] for text in texts])
    first = torch.stack([text.at[0] for text in texts])
    return _measure(study, tokens, at, first, baseline, nodes)


def measure_positions(
    study: Study, text: Text, baseline: Tensor, nodes: int
) -> ImportanceMeasures:
    """The measures of one text for each of its states."""
    tokens = text.ids[None].expand(len(text.at), -1)
    return _measure(study, tokens, text.at, text.at[:1].expand(len(text.at)), baseline, nodes)


def mean_embedding(study: Study, texts: Sequence[Text]) -> Float[Tensor, " dim"]:
    """The mean embedding of the tokens that are compared."""
    ids = torch.cat([text.tokens for text in texts])
    embeddings = required_model(study).run(ids[:, None], read=[EMBED]).reads[EMBED]
    return embeddings.float().cpu().double().mean((0, 1)).float()


def _measure(
    study: Study,
    tokens: Int[Tensor, "row time"],
    at: Int[Tensor, " row"],
    first: Int[Tensor, " row"],
    baseline: Float[Tensor, " dim"],
    nodes: int,
) -> ImportanceMeasures:
    view, viewed = study.single
    model = required_model(study)
    place = torch.arange(tokens.shape[1])
    compared = (place >= first[:, None]) & (place <= at[:, None])
    noise = Response(model, view.site, viewed.fitted, tokens, at)
    embeddings = noise.embeddings
    # tokens that are not compared, such as BOS, keep their embedding in the baseline
    base = embeddings.where(~compared[..., None], baseline)
    measures, notes = _state_and_attention(model, view.site, tokens, at)
    recency = place.expand(tokens.shape).double()
    measures = {"recency": recency, "embedding": embeddings.norm(dim=-1), **measures}
    gap = None
    for name, response in {"drift": noise.along_drift(), "noise": noise}.items():
        attributions, part_gap, part_notes = _attributions(response, embeddings, base, nodes)
        if name == "noise" and not any(values.abs().max() > 0 for values in attributions.values()):
            notes.append("The noise of this fit is constant: no token changes it.")
            continue
        measures |= {f"{name}.{method}": values for method, values in attributions.items()}
        gap = part_gap if name == "drift" else gap
        notes += [note for note in part_notes if note not in notes]
    ordered = {name: measures[name].double() for name in LABELS if name in measures}
    return ImportanceMeasures(compared, at, ordered, gap, tuple(notes))


def _attributions(
    response: Response, embeddings: Tensor, base: Tensor, nodes: int
) -> tuple[dict[str, Values], Tensor | None, list[str]]:
    """Attributions of one number of the fit; without gradients, by occlusion only."""
    occluded: dict[str, Values] = {"occlusion": occlusion(response, embeddings, base)}
    try:
        integrated = adaptive_integrated_gradients(response, embeddings, base, nodes=nodes)
        first_order = gradient_times_input(response, embeddings)
    except UsageError as error:
        return occluded, None, [f"Left out: {error}."]
    values = {"gradient": first_order, "integrated": integrated.values, **occluded}
    return values, integrated.gap, []


@torch.no_grad()
def _state_and_attention(
    model: LanguageModel, site: Site, tokens: Tensor, at: Tensor
) -> tuple[dict[str, Values], list[str]]:
    """Norms of states, and attention in the layers up to that of the states."""
    states = model.run(tokens, read=[site]).reads[site].float().cpu()
    measures: dict[str, Values] = {"state": states.norm(dim=-1)}
    if site == EMBED:
        return measures, ["No attention precedes the embedding, so attention is not ranked."]
    try:
        weights = attention(model, tokens)[: site.layer + 1].mean((0, 2))
    except UsageError as error:
        return measures, [f"Left out: {error}."]
    total = torch.zeros(tokens.shape)
    for row, last in enumerate(at.tolist()):
        total[row, : last + 1] = received(weights[row, : last + 1, : last + 1])
    from_last = weights[torch.arange(len(at)), at]
    return measures | {"attention_received": total, "attention_from_last": from_last}, []
