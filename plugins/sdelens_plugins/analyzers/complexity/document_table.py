"""The error of the fit on each document, and measures of the document's text."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.dynamics.growth import growth
from sdelens.estimation.ratio import FEWEST
from sdelens.fitting.fitted import Fitted
from sdelens.language.next_token import predict_next_tokens
from sdelens.language.surprisal import Surprisal
from sdelens.language.token_class import SPECIAL
from sdelens.laws.sde import SDE
from sdelens.protocols import LanguageModel
from sdelens_plugins.analyzers.common.held_out_documents import HeldOutDocuments, group_numbers
from sdelens_plugins.analyzers.complexity.text_complexity import TextComplexity

MIN_DOCUMENTS = FEWEST
"""The least number of documents for a rank correlation."""
CONSTANT = 1e-6
"""A growth that varies by no more than this between documents is constant up to rounding."""
ERRORS = {"nats": "nats per dimension", "squares": "squared residual per dimension"}
GROWTH = {"growth": "growth of deviations"}
OUTCOMES = ERRORS | GROWTH
"""Outcomes of the fit on a document."""
MEASURES = {
    "sentence_length": "words per sentence",
    "clauses": "clauses per sentence",
    "diversity": "type-token ratio",
    "word_length": "letters per word",
    "surprisal": "model's surprisal",
}
"""Measures of the text itself."""


@dataclass(frozen=True, eq=False)
class DocumentTable:
    """Means over the steps of each document, with measures and annotations of its text."""

    nats: Float[Tensor, " document"]
    squares: Float[Tensor, " document"]
    growth: Float[Tensor, " document"]
    """The log factor by which a step stretches small deviations; NaN without an SDE."""
    length: Float[Tensor, " document"]
    """The number of scored transitions."""
    sentence_length: Float[Tensor, " document"]
    clauses: Float[Tensor, " document"]
    diversity: Float[Tensor, " document"]
    word_length: Float[Tensor, " document"]
    surprisal: Float[Tensor, " document"]
    annotations: Mapping[str, Float[Tensor, " document"]]

    @classmethod
    def of(
        cls, model: LanguageModel, held: HeldOutDocuments, fitted: Fitted, *, seed: int
    ) -> "DocumentTable":
        """Measures each document from its first scored state on.

        Growth is measured only if there are annotations to correlate it with. Raises `ValueError`
        if the documents have no tokens.
        """
        if held.documents is None:
            raise ValueError("the tokens of the held-out documents are needed")
        annotations = held.documents.annotations
        surprisal = Surprisal.of(fitted, held.paths)
        row, count = held.row(surprisal.document), len(held.numbers)
        token_surprisal = predict_next_tokens(model, held.documents).at(
            row, surprisal.position.long()
        )[1]
        stretch = torch.full_like(surprisal.nats, torch.nan)
        if annotations and isinstance(fitted.law, SDE):
            stretch = growth(fitted.law, fitted.encoded(held.paths), seed=seed)
        length = torch.bincount(row, minlength=count).double()
        steps = {"nats": surprisal.nats, "squares": surprisal.residual, "growth": stretch}
        means = {
            name: torch.zeros(count, dtype=torch.float64).index_add(0, row, values.double())
            / length
            for name, values in (steps | {"surprisal": token_surprisal}).items()
        }
        pieces = zip(held.documents, held.first.long().tolist(), strict=True)
        texts = [_text(model, document.tokens[first:]) for document, first in pieces]
        complexities = [TextComplexity.of(text) for text in texts]
        measures = {
            field.name: torch.tensor([getattr(c, field.name) for c in complexities]).double()
            for field in fields(TextComplexity)
        }
        return cls(length=length, annotations=annotations, **means, **measures)

    def grouped(self, unit: Int[Tensor, " document"]) -> "DocumentTable":
        """Means over the documents of each group, which are not independent observations.

        An annotation that a document lacks is missing for its whole group.
        """
        group = group_numbers(unit)
        count = torch.bincount(group).double()
        zeros = torch.zeros_like(count)

        def means(columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {k: zeros.index_add(0, group, column) / count for k, column in columns.items()}

        return replace(self, **means(self.columns), annotations=means(self.annotations))

    @property
    def columns(self) -> dict[str, Float[Tensor, " document"]]:
        """All columns but the annotations."""
        return {k: column for k, column in vars(self).items() if k != "annotations"}

    @property
    def documents(self) -> int:
        """The number of documents that have all measures."""
        return int(torch.stack([getattr(self, name) for name in MEASURES]).isfinite().all(0).sum())

    @property
    def measures(self) -> dict[str, Float[Tensor, " document"]]:
        """The measures of the text, then its annotations."""
        annotations = {f"annotated {name}": column for name, column in self.annotations.items()}
        return {name: getattr(self, name) for name in MEASURES} | annotations

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The pairs to correlate: errors with all measures, growth with annotations.

        Annotations that are constant or that fewer than `MIN_DOCUMENTS` documents have are left
        out, and so is a constant growth, such as that of a linear kernel.
        """
        measures = [name for name, column in self.measures.items() if _varies(column)]
        pairs = [(error, name) for error in ERRORS for name in measures]
        annotations = [name for name in measures if name not in MEASURES]
        return pairs + [("growth", name) for name in annotations if _varies(self.growth, CONSTANT)]

    def tensors(self) -> dict[str, Tensor]:
        """All columns by name."""
        annotations = {f"annotation.{name}": c for name, c in self.annotations.items()}
        return self.columns | annotations


def measure_label(measure: str) -> str:
    """The label of a measure or an annotation."""
    return MEASURES.get(measure, measure)


def _varies(column: Float[Tensor, " document"], least: float = 0.0) -> bool:
    known = column[column.isfinite()]
    return len(known) >= MIN_DOCUMENTS and float(known.max() - known.min()) > least


def _text(model: LanguageModel, ids: tuple[int, ...]) -> str:
    """The text of tokens, without those that begin or end a text."""
    words = model.decode(ids)
    return "".join(word for word in words if not SPECIAL.fullmatch(word.strip()))
