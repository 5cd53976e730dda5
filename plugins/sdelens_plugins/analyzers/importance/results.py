"""Headline, reading, estimates, arrays and strips of token importance."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.language.texts import Text
from sdelens.report import Estimate, Strip
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.importance.agreement import REFERENCE, Agreement
from sdelens_plugins.analyzers.importance.attention import to_first
from sdelens_plugins.analyzers.importance.attribution import TOLERANCE
from sdelens_plugins.analyzers.importance.measures import LABELS, ImportanceMeasures

SHARES = ("drift.integrated", "drift.occlusion", "noise.integrated", "attention_from_last")
"""Measures for which the share of the last token is reported."""
READING = (
    "Norms of embeddings and attention weights are common measures of word importance; they do "
    "not depend on the fit. The other measures use the language model and the fit together: the "
    "change of the drift's length at a state (its component along itself) and of the size of the "
    "noise if the mean embedding replaces that of a token (occlusion), to first order (gradient "
    "times input), and along the path from the mean embedding (integrated gradients, which sum to "
    "the whole change). Attributions have a sign: a token can lengthen the drift or shorten it. "
    "Rankings use absolute values. Replaced embeddings are inputs that the model never saw, "
    "several tokens with the same meaning hide each other from occlusion, and an attribution is "
    "not an explanation. Agreement is Kendall's tau over the tokens of a text, averaged over "
    "documents, with errors over documents; chance is that of rankings shuffled within each text. "
    "Recency, the position in the text, is the baseline of all rankings. Attention received is in "
    "multiples of the attention under equal weights on all previous tokens; the first position, "
    "an attention sink in most models, is left out of the figure and reported separately."
)


@dataclass(frozen=True, eq=False)
class ImportanceResults:
    """Measures of one text and of test documents, and their agreement."""

    text: Text
    words: tuple[str, ...]
    text_measures: ImportanceMeasures
    """The measures of the text for each of its states."""
    measures: ImportanceMeasures
    """The measures of test documents for their last states."""
    agreements: Mapping[str, Agreement]
    attention: Float[Tensor, "layer head time time"] | None
    notes: tuple[str, ...]

    @property
    def first(self) -> int:
        """The first position of the text that is compared."""
        return int(self.text.at[0])

    def headline(self) -> str:
        """The share of the drift's attribution on the last token, beside an even share."""
        name = "drift.integrated" if "drift.integrated" in self.measures.values else REFERENCE
        even = float(self.measures.even_share().mean())
        return (
            f"The last token accounts for {self.last_share(name).percent} of the attribution of "
            f"the drift, by {LABELS[name].partition(',')[0]} (even share: {even:.0%})."
        )

    def last_share(self, name: str) -> DocumentMean:
        """The mean share of a measure on the last token."""
        return DocumentMean.of(self.measures.last_share(name), torch.arange(len(self.measures.at)))

    def reading(self) -> str:
        """How to read the measures, and what was left out."""
        notes = dict.fromkeys([*self.measures.notes, *self.notes])
        return " ".join([READING, *completeness_notes(self.measures), *notes])

    def estimates(self) -> tuple[Estimate, ...]:
        """Agreement, shares of the last token, completeness, and the attention sink."""
        rows = [
            agreement.tau.estimate(
                f"agreement of {LABELS[name]} with occlusion",
                f"Kendall's tau, chance ±{agreement.chance:.2g}, p = {agreement.p:.2g}",
            )
            for name, agreement in self.agreements.items()
        ]
        unit = f"of 1, even share {float(self.measures.even_share().mean()):.2g}"
        rows += [
            self.last_share(name).estimate(f"last token's share of {LABELS[name]}", unit)
            for name in SHARES
            if name in self.measures.values
        ]
        if self.measures.gap is not None:
            gap, unit = float(self.measures.gap.max()), "of the absolute attributions"
            rows.append(Estimate("largest gap of integrated gradients", gap, unit=unit))
        if self.attention is not None:
            sink = float(to_first(self.attention).mean())
            rows.append(Estimate("attention to the first position", sink, unit="of 1, all heads"))
        texts = Estimate("texts", float(len(self.measures.at)), unit="the sample size")
        return (*rows, texts)

    def arrays(self) -> dict[str, Tensor]:
        """All measures of the text for each state, and of the documents for their last state."""
        arrays: dict[str, Tensor] = {"positions": self.text.at, "tokens": self.text.ids}
        arrays |= {f"text.{name}": values for name, values in self.text_measures.values.items()}
        arrays |= {f"documents.{name}": values for name, values in self.measures.values.items()}
        arrays |= {
            "documents.compared": self.measures.compared,
            "documents.at": self.measures.at,
        }
        if self.agreements:
            rows = [(a.tau.value, *a.tau.ends, a.chance, a.p) for a in self.agreements.values()]
            arrays["agreement"] = torch.tensor(rows, dtype=torch.float64)
        return arrays if self.attention is None else arrays | {"attention": self.attention}

    def strips(self) -> tuple[Strip, ...]:
        """The text coloured by each measure for its last state."""
        words, first = self.words[self.first :], self.first
        return tuple(
            Strip(LABELS[name], words, tuple(values[-1, first:].tolist()))
            for name, values in self.text_measures.values.items()
            if name != "recency"
        )


def completeness_notes(measures: ImportanceMeasures) -> list[str]:
    """A warning if integrated gradients do not sum to the change."""
    worst = 0.0 if measures.gap is None else float(measures.gap.max())
    if worst <= TOLERANCE:
        return []
    return [
        f"Integrated gradients miss up to {worst:.0%} of the change that they attribute here: use "
        "more nodes (--set importance.nodes=256)."
    ]
