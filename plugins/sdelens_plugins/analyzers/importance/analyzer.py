"""Which tokens matter: by norms and attention (the paper's Figure 6), and for drift and noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.language.texts import Text, held_out_texts, prompt_or_document, required_model
from sdelens.report import Estimate, Finding, Strip, counted
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.importance.agreement import TRUTH, Agreement, agreement
from sdelens_plugins.analyzers.importance.attention import attention, to_first
from sdelens_plugins.analyzers.importance.attribution import COMPLETE
from sdelens_plugins.analyzers.importance.figures import figures
from sdelens_plugins.analyzers.importance.measures import (
    LABELS,
    ImportanceMeasures,
    mean_embedding,
    of_positions,
    of_texts,
)

READING = (
    "Norms of embeddings and attention weights are the usual measures of which words matter, and "
    "the first that were taken for such a fit; they say nothing of the fit. What moves it is "
    "asked of the language model and the fit together: how far the drift's length at a state "
    "(its component along itself) and the size of the noise change when a token's embedding is "
    "replaced by the mean one (occlusion), to first order (gradient times input), and along the "
    "way from the mean embedding (integrated gradients, whose sum is the whole change). "
    "Attributions "
    "have a sign: a token can lengthen the drift or shorten it; rankings go by size. Replaced "
    "embeddings are inputs that the model never saw, several tokens that say the same thing "
    "hide each other from occlusion, and an attribution is not an explanation. Agreement is "
    "Kendall's tau over the tokens of a text, its mean over documents with errors over these, "
    "and chance that of rankings shuffled within each text; recency, the bare position in the "
    "text, is the ranking that any other must beat. Attention received is in multiples of "
    "what a token would get if all looked at everything before them alike; the first position, "
    "an attention sink in most models, is left out of the picture and its share given by itself."
)


@dataclass(frozen=True)
class ImportanceAnalyzer:
    """Tokens weighed by norms, by attention, and by how they move the drift and the noise.

    The first `tokens` states of the prompt, or of a test document, are shown, and rankings are
    compared over as many of each of the first `documents` test documents, seen from the last.
    Integrated gradients from the `baseline` (mean or zero) take `nodes` points, and up to eight
    times as many where they do not add up.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde", "model"})
    wants: ClassVar[frozenset[str]] = frozenset({"attention"})
    scope: ClassVar[str] = "view"

    tokens: int = 24
    documents: int = 16
    nodes: int = 32
    baseline: str = "mean"

    def __post_init__(self) -> None:
        for name in ("tokens", "documents", "nodes"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.baseline not in ("mean", "zero"):
            raise UsageError(f"baseline must be mean or zero, got {self.baseline!r}")

    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, _ = study.single
        text = prompt_or_document(study, tokens=self.tokens)
        found = held_out_texts(study, documents=self.documents, states=3)
        texts = [one.first(self.tokens) for one in found] or [text]
        base = mean_embedding(study, texts)
        base = base if self.baseline == "mean" else torch.zeros_like(base)
        shown = of_positions(study, text, base, self.nodes)
        many = of_texts(study, texts, base, self.nodes)
        agreed = agreement(many, derive(seed, "agreement"))
        weights, looks = looked(study, text)
        words = tuple(required_model(study).decode(text.ids.tolist()))
        first = int(text.at[0])
        return Finding(
            view=str(view),
            headline=headline(many, agreed),
            reading=" ".join([READING, *complete(many), *dict.fromkeys([*many.notes, *looks])]),
            estimates=estimates(many, agreed, weights),
            arrays=arrays(text, shown, many, agreed, weights),
            figures=figures(text.name, words, first, shown, agreed, weights),
            strips=strips(words, first, shown),
            prompt=study.prompt,
        )


def looked(study: Study, text: Text) -> tuple[Tensor | None, list[str]]:
    """The attention of all layers and heads along the text, or why there is none."""
    try:
        return attention(required_model(study), text.ids[None])[:, 0], []
    except UsageError as error:
        return None, [f"Left out: {error}."]


def shares(many: ImportanceMeasures, name: str) -> DocumentMean:
    """How much of a measure is on the token itself."""
    return DocumentMean.of(many.own_share(name), torch.arange(len(many.at)))


def headline(many: ImportanceMeasures, agreed: Mapping[str, Agreement]) -> str:
    """Where the drift comes from, and which measures see it."""
    best = "drift.integrated" if "drift.integrated" in many.measures else TRUTH
    even = float(many.even_share().mean())
    own = (
        f"{shares(many, best).percent} of what moves the drift is owed to the last token itself "
        f"(by {LABELS[best].partition(',')[0]}, {counted(len(many.at), 'text')}; an even share is "
        f"{even:.0%})."
    )
    named = [n for n in ("drift.integrated", "looked", "recency", "embedding") if n in agreed]
    if not named:
        return f"{own} No ranking can be compared."
    parts = [f"{LABELS[n].partition(',')[0]} {agreed[n].tau}" for n in named]
    beyond = max(agreed[n].chance for n in named)
    return (
        f"{own} With what replacing a token does to the drift, rankings agree by Kendall's tau: "
        f"{', '.join(parts)} (chance: within ±{beyond:.2g})."
    )


def complete(many: ImportanceMeasures) -> list[str]:
    """A warning where integrated gradients do not add up."""
    worst = 0.0 if many.gap is None else float(many.gap.max())
    if worst <= COMPLETE:
        return []
    return [
        f"Integrated gradients miss up to {worst:.0%} of what they attribute here, and are to be "
        "read with care: take more nodes (--set importance.nodes=256)."
    ]


def estimates(
    many: ImportanceMeasures, agreed: Mapping[str, Agreement], weights: Tensor | None
) -> tuple[Estimate, ...]:
    """Agreement, shares of the last token, completeness, the sink."""
    found = [
        one.tau.estimate(
            f"agreement of {LABELS[name]} with occlusion",
            f"Kendall's tau, chance ±{one.chance:.2g}, p = {one.p:.2g}",
        )
        for name, one in agreed.items()
    ]
    even = float(many.even_share().mean())
    for name in ("drift.integrated", "drift.occlusion", "noise.integrated", "looked"):
        if name in many.measures:
            unit = f"of 1, even share {even:.2g}"
            found.append(
                shares(many, name).estimate(f"last token's share of {LABELS[name]}", unit)
            )
    if many.gap is not None:
        unit = "of what is attributed"
        found.append(
            Estimate("largest gap of integrated gradients", float(many.gap.max()), unit=unit)
        )
    if weights is not None:
        share = float(to_first(weights).mean())
        found.append(Estimate("attention to the first position", share, unit="of 1, all heads"))
    return tuple(found)


def arrays(
    text: Text,
    shown: ImportanceMeasures,
    many: ImportanceMeasures,
    agreed: Mapping[str, Agreement],
    weights: Float[Tensor, "layer head time time"] | None,
) -> dict[str, Tensor]:
    """All measures: of the text seen from each state, and of the documents from the last."""
    named: dict[str, Tensor] = {"positions": text.at, "tokens": text.ids}
    named |= {f"text.{name}": values for name, values in shown.measures.items()}
    named |= {f"documents.{name}": values for name, values in many.measures.items()}
    named |= {"documents.seen": many.seen, "documents.at": many.at}
    if agreed:
        rows = [(a.tau.value, *a.tau.ends, a.chance, a.p) for a in agreed.values()]
        named["agreement"] = torch.tensor(rows, dtype=torch.float64)
    return named if weights is None else named | {"attention": weights}


def strips(words: tuple[str, ...], first: int, shown: ImportanceMeasures) -> tuple[Strip, ...]:
    """The text coloured by each measure, seen from its last state."""
    return tuple(
        Strip(LABELS[name], words[first:], tuple(values[-1, first:].tolist()))
        for name, values in shown.measures.items()
        if name != "recency"
    )
