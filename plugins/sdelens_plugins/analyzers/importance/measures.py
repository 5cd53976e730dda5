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
from sdelens_plugins.analyzers.importance.response import EMBED
from sdelens_plugins.analyzers.importance.text_attributions import attributions

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
    return _measure(study, [(text, text.at[-1:]) for text in texts], baseline, nodes)


def measure_positions(
    study: Study, text: Text, baseline: Tensor, nodes: int
) -> ImportanceMeasures:
    """The measures of one text for each of its states."""
    return _measure(study, [(text, text.at)], baseline, nodes)


def mean_embedding(study: Study, texts: Sequence[Text]) -> Float[Tensor, " dim"]:
    """The mean embedding of the tokens that are compared."""
    ids = torch.cat([text.tokens for text in texts])
    embeddings = required_model(study).run(ids[:, None], read=[EMBED]).reads[EMBED]
    return embeddings.float().cpu().double().mean((0, 1)).float()


def _measure(
    study: Study,
    parts: Sequence[tuple[Text, Int[Tensor, " state"]]],
    baseline: Float[Tensor, " dim"],
    nodes: int,
) -> ImportanceMeasures:
    """The measures of each text for its states at some positions, a row for each."""
    view, viewed = study.single
    model = required_model(study)
    tokens = pad_sequence([text.ids for text, at in parts for _ in at], batch_first=True)
    at = torch.cat([at for _, at in parts])
    first = torch.cat([text.at[:1].expand(len(at)) for text, at in parts])
    place = torch.arange(tokens.shape[1])
    compared = (place >= first[:, None]) & (place <= at[:, None])
    embeddings = model.run(tokens, read=[EMBED]).reads[EMBED].float().cpu()
    measures, notes = _state_and_attention(model, view.site, tokens, at)
    recency = place.expand(tokens.shape).double()
    measures = {"recency": recency, "embedding": embeddings.norm(dim=-1), **measures}
    found = [
        attributions(model, view.site, viewed.fitted, text, own, baseline, nodes)
        for text, own in parts
    ]
    if all("noise.occlusion" not in each.values for each in found):
        notes.append("The noise of this fit is constant: no token changes it.")
    notes += dict.fromkeys(note for each in found for note in each.notes)
    measures |= joined([each.values for each in found], len(place))
    gaps = [each.gap for each in found if each.gap is not None]
    ordered = {name: measures[name].double() for name in LABELS if name in measures}
    return ImportanceMeasures(
        compared, at, ordered, torch.cat(gaps) if gaps else None, tuple(notes)
    )


def joined(parts: Sequence[Mapping[str, Tensor]], time: int) -> dict[str, Values]:
    """The rows of several texts by measure, padded with zeros; zero where a text lacks one."""
    names = dict.fromkeys(name for part in parts for name in part)
    pad = torch.nn.functional.pad
    blank = [torch.zeros_like(next(iter(part.values()))) for part in parts]
    rows = {
        name: [part.get(name, none) for part, none in zip(parts, blank, strict=True)]
        for name in names
    }
    return {
        name: torch.cat([pad(part, (0, time - part.shape[1])) for part in own])
        for name, own in rows.items()
    }


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
