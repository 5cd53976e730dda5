"""Every measure of how much each token of some texts matters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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
    complete_gradients,
    gradient_times_input,
    occlusion,
)

Values = Float[Tensor, "row time"]
LABELS = {
    "recency": "recency alone",
    "embedding": "embedding norm",
    "state": "state norm",
    "received": "attention received",
    "looked": "attention of the last token",
    "drift.gradient": "gradient x input, drift",
    "drift.integrated": "integrated gradients, drift",
    "drift.occlusion": "occlusion, drift",
    "noise.gradient": "gradient x input, noise",
    "noise.integrated": "integrated gradients, noise",
    "noise.occlusion": "occlusion, noise",
}
"""Short names of all measures, in the order in which they are shown."""


@dataclass(frozen=True, eq=False)
class ImportanceMeasures:
    """Measures of the tokens of each text, seen from one of its positions."""

    seen: Bool[Tensor, "row time"]
    """The tokens that are compared: those recorded, up to the position."""
    at: Int[Tensor, " row"]
    measures: Mapping[str, Values]
    gap: Float[Tensor, " row"] | None
    """What is missing of the sum of the drift's integrated gradients, as a share."""
    notes: tuple[str, ...]

    def own_share(self, name: str) -> Float[Tensor, " row"]:
        """The share of a measure, in absolute value, on the token at the position itself."""
        size = self.measures[name].abs() * self.seen
        return size.gather(1, self.at[:, None])[:, 0] / size.sum(1)

    def even_share(self) -> Float[Tensor, " row"]:
        """What that share would be if all tokens mattered alike."""
        return 1 / self.seen.sum(1)


def of_texts(
    study: Study, texts: Sequence[Text], baseline: Tensor, nodes: int
) -> ImportanceMeasures:
    """Each text seen from its last state."""
    tokens = pad_sequence([text.ids for text in texts], batch_first=True)
    at = torch.stack([text.at[-1] for text in texts])
    first = torch.stack([text.at[0] for text in texts])
    return _measured(study, tokens, at, first, baseline, nodes)


def of_positions(study: Study, text: Text, baseline: Tensor, nodes: int) -> ImportanceMeasures:
    """One text seen from each of its states."""
    tokens = text.ids[None].expand(len(text.at), -1)
    return _measured(study, tokens, text.at, text.at[:1].expand(len(text.at)), baseline, nodes)


def mean_embedding(study: Study, texts: Sequence[Text]) -> Float[Tensor, " dim"]:
    """Of the tokens that are compared."""
    ids = torch.cat([text.tokens for text in texts])
    one = required_model(study).run(ids[:, None], read=[EMBED]).reads[EMBED]
    return one.float().cpu().double().mean((0, 1)).float()


def _measured(
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
    seen = (place >= first[:, None]) & (place <= at[:, None])
    ask = Response(model, view.site, viewed.fitted, tokens, at)
    own = ask.embeddings
    # what is not compared, BOS that is, stays as it is in the baseline
    base = own.where(~seen[..., None], baseline)
    measures, notes = _looked_at(model, view.site, tokens, at)
    recency = place.expand(tokens.shape).double()
    measures = {"recency": recency, "embedding": own.norm(dim=-1), **measures}
    parts = {"drift": ask.along_drift(), "noise": replace(ask, direction=None)}
    gap = None
    for name, response in parts.items():
        found, lost, note = _moved(response, own, base, nodes)
        if name == "noise" and not any(values.abs().max() > 0 for values in found.values()):
            notes.append("The noise of this fit is the same in all states: no token moves it.")
            continue
        measures |= {f"{name}.{kind}": values for kind, values in found.items()}
        gap = lost if name == "drift" else gap
        notes += [one for one in note if one not in notes]
    ordered = {name: measures[name].double() for name in LABELS if name in measures}
    return ImportanceMeasures(seen, at, ordered, gap, tuple(notes))


def _moved(
    response: Response, own: Tensor, base: Tensor, nodes: int
) -> tuple[dict[str, Values], Tensor | None, list[str]]:
    """What each token adds to one number of the fit; without gradients, by occlusion alone."""
    found: dict[str, Values] = {"occlusion": occlusion(response, own, base)}
    try:
        whole = complete_gradients(response, own, base, nodes=nodes)
        first = gradient_times_input(response, own)
    except UsageError as error:
        return found, None, [f"Left out: {error}."]
    return {"gradient": first, "integrated": whole.values, **found}, whole.gap, []


@torch.no_grad()
def _looked_at(
    model: LanguageModel, site: Site, tokens: Tensor, at: Tensor
) -> tuple[dict[str, Values], list[str]]:
    """Norms of states, and attention in the layers that the states come from."""
    states = model.run(tokens, read=[site]).reads[site].float().cpu()
    found: dict[str, Values] = {"state": states.norm(dim=-1)}
    if site == EMBED:
        return found, ["No attention comes before the embedding: it is not ranked here."]
    try:
        weights = attention(model, tokens)[: site.layer + 1].mean((0, 2))
    except UsageError as error:
        return found, [f"Left out: {error}."]
    taken = torch.zeros(tokens.shape)
    for row, last in enumerate(at.tolist()):
        taken[row, : last + 1] = received(weights[row, : last + 1, : last + 1])
    return found | {"received": taken, "looked": weights[torch.arange(len(at)), at]}, []
