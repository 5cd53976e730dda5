"""What the fit does on each document, and what is known of the document's text."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.dynamics.growth import growth
from sdelens.fitting.fitted import Fitted
from sdelens.language.next_token import predict_next_tokens
from sdelens.language.surprisal import Surprisal
from sdelens.language.token_class import SPECIAL
from sdelens.laws.sde import SDE
from sdelens.protocols import LanguageModel
from sdelens_plugins.analyzers.common.held_out_documents import HeldOutDocuments
from sdelens_plugins.analyzers.complexity.text_complexity import TextComplexity

FEWEST = 8
"""Documents without which a rank correlation says nothing."""
STILL = 1e-6
"""A growth that differs no more than so between documents is the same for all, but rounding."""
ERRORS = {"nats": "nats per dimension", "squares": "squared residual per dimension"}
GROWTH = {"growth": "growth of deviations"}
OUTCOMES = ERRORS | GROWTH
"""What the fit does on a document."""
MEASURES = {
    "sentence_length": "words per sentence",
    "clauses": "clauses per sentence",
    "diversity": "type-token ratio",
    "word_length": "letters per word",
    "surprisal": "model's surprisal",
}
"""What can be told from the text itself."""


@dataclass(frozen=True, eq=False)
class DocumentTable:
    """Means over the steps of each document, and measures and annotations of its text."""

    nats: Float[Tensor, " document"]
    squares: Float[Tensor, " document"]
    growth: Float[Tensor, " document"]
    """The logarithm by which a step stretches small deviations; NaN where no SDE was fitted."""
    length: Float[Tensor, " document"]
    """Transitions that are scored."""
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
        """Of the text from the first state that is scored on; less than that is no one's error.

        Growth is measured where there are annotations to set beside it.
        """
        if held.documents is None:
            raise ValueError("the tokens of the held-out documents are needed")
        notes = held.documents.annotations
        surprise = Surprisal.of(fitted, held.paths)
        row, count = held.row(surprise.document), len(held.numbers)
        nll = predict_next_tokens(model, held.documents).at(row, surprise.position.long())[1]
        grown = torch.full_like(surprise.nats, torch.nan)
        if notes and isinstance(fitted.law, SDE):
            grown = growth(fitted.law, fitted.encoded(held.paths), seed=seed)
        length = torch.bincount(row, minlength=count).double()
        steps = {"nats": surprise.nats, "squares": surprise.residual, "growth": grown}
        means = {
            name: torch.zeros(count, dtype=torch.float64).index_add(0, row, each.double()) / length
            for name, each in (steps | {"surprisal": nll}).items()
        }
        pieces = zip(held.documents, held.first.long().tolist(), strict=True)
        texts = [_text(model, document.tokens[first:]) for document, first in pieces]
        measured = [TextComplexity.of(text) for text in texts]
        measures = {
            field.name: torch.tensor([getattr(m, field.name) for m in measured]).double()
            for field in fields(TextComplexity)
        }
        return cls(length=length, annotations=notes, **means, **measures)

    def grouped(self, unit: Int[Tensor, " document"]) -> "DocumentTable":
        """Means over the documents of each group, which are no independent observations.

        A group has no annotation that one of its documents lacks.
        """
        own: Tensor = torch.unique(unit, return_inverse=True)[1]
        count = torch.bincount(own).double()
        zeros = torch.zeros_like(count)

        def means(columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {k: zeros.index_add(0, own, each) / count for k, each in columns.items()}

        return replace(self, **means(self.columns), annotations=means(self.annotations))

    @property
    def columns(self) -> dict[str, Float[Tensor, " document"]]:
        """All but the annotations."""
        return {k: each for k, each in vars(self).items() if k != "annotations"}

    @property
    def documents(self) -> int:
        """Those with all measures."""
        return int(torch.stack([getattr(self, name) for name in MEASURES]).isfinite().all(0).sum())

    @property
    def measures(self) -> dict[str, Float[Tensor, " document"]]:
        """Of the text, then its annotations."""
        notes = {f"annotated {name}": column for name, column in self.annotations.items()}
        return {name: getattr(self, name) for name in MEASURES} | notes

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """What is correlated with what: errors with everything, growth with annotations.

        Left out are annotations that fewer than `FEWEST` documents have or all have alike, and a
        growth that is the same everywhere, as a linear kernel's is.
        """
        known = [name for name, column in self.measures.items() if _varies(column)]
        found = [(error, name) for error in ERRORS for name in known]
        noted = [name for name in known if name not in MEASURES]
        return found + [("growth", name) for name in noted if _varies(self.growth, STILL)]

    def tensors(self) -> dict[str, Tensor]:
        """All columns by name."""
        notes = {f"annotation.{name}": column for name, column in self.annotations.items()}
        return self.columns | notes


def _varies(column: Float[Tensor, " document"], least: float = 0.0) -> bool:
    known = column[column.isfinite()]
    return len(known) >= FEWEST and float(known.max() - known.min()) > least


def _text(model: LanguageModel, ids: tuple[int, ...]) -> str:
    """What can be read of tokens: without those that begin or end a text."""
    words = model.decode(ids)
    return "".join(word for word in words if not SPECIAL.fullmatch(word.strip()))
