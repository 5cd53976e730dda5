"""The errors of the fit and the complexity of the text, by document."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.language.complexity import Complexity
from sdelens.language.next_token import next_tokens
from sdelens.language.surprise import Surprise
from sdelens.language.token_class import SPECIAL
from sdelens.protocols import LanguageModel
from sdelens_plugins.analyzers.held_out import HeldOut

ERRORS = {"nats": "nats per dimension", "squares": "squared residual per dimension"}
MEASURES = {
    "sentence_length": "words per sentence",
    "clauses": "clauses per sentence",
    "diversity": "type-token ratio",
    "word_length": "letters per word",
    "surprisal": "model's surprisal",
}


@dataclass(frozen=True, eq=False)
class Table:
    """Errors and measures of each document."""

    nats: Float[Tensor, " document"]
    squares: Float[Tensor, " document"]
    length: Float[Tensor, " document"]
    """Transitions that are scored."""
    sentence_length: Float[Tensor, " document"]
    clauses: Float[Tensor, " document"]
    diversity: Float[Tensor, " document"]
    word_length: Float[Tensor, " document"]
    surprisal: Float[Tensor, " document"]

    @classmethod
    def of(cls, model: LanguageModel, held: HeldOut, surprise: Surprise) -> "Table":
        """Of the text from the first state that is scored on; less than that is no one's error."""
        if held.documents is None:
            raise ValueError("the tokens of the held-out documents are needed")
        row, count = held.row(surprise.document), len(held.numbers)
        nll = next_tokens(model, held.documents).at(row, surprise.position.long())[1]
        length = torch.bincount(row, minlength=count).double()
        nats, squares, surprisal = (
            torch.zeros(count, dtype=torch.float64).index_add(0, row, values.double()) / length
            for values in (surprise.nats, surprise.residual, nll)
        )
        pieces = zip(held.documents, held.first.long().tolist(), strict=True)
        texts = [_text(model, document.tokens[first:]) for document, first in pieces]
        measured = [Complexity.of(text) for text in texts]
        measures = {
            field.name: torch.tensor([getattr(m, field.name) for m in measured]).double()
            for field in fields(Complexity)
        }
        return cls(nats=nats, squares=squares, length=length, surprisal=surprisal, **measures)

    def grouped(self, unit: Int[Tensor, " document"]) -> "Table":
        """Means over the documents of each group, which are no independent observations."""
        own: Tensor = torch.unique(unit, return_inverse=True)[1]
        count = torch.bincount(own).double()
        zeros = torch.zeros_like(count)
        columns = vars(self).items()
        return Table(**{k: zeros.index_add(0, own, column) / count for k, column in columns})

    @property
    def documents(self) -> int:
        """Those with all measures."""
        return int(torch.stack([getattr(self, name) for name in MEASURES]).isfinite().all(0).sum())


def _text(model: LanguageModel, ids: tuple[int, ...]) -> str:
    """What can be read of tokens: without those that begin or end a text."""
    words = model.decode(ids)
    return "".join(word for word in words if not SPECIAL.fullmatch(word.strip()))
