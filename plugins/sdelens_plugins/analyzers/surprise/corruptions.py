"""Corruptions of documents that keep their length in tokens."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.paths.documents import Documents
from sdelens.seeds import generator


def shuffled_words(
    documents: Documents,
    begins: Bool[Tensor, " token"],
    first: Int[Tensor, " document"],
    seed: int,
) -> Documents:
    """The words of each document in random order, from position `first` on.

    `begins` says which tokens begin a word; the pieces of a word stay together.
    """
    row, position = _places(documents)
    fixed = position < first[row]
    word = (begins | (position <= first[row])).long().cumsum(0) - 1
    keys = torch.rand(int(word[-1]) + 1, generator=generator(seed, "words"), dtype=torch.float64)
    order = keys[word].masked_fill(fixed, -1.0).argsort(stable=True)
    order = order[row[order].argsort(stable=True)]
    return replace(documents, tokens=documents.tokens[order])


def gibberish(
    documents: Documents,
    first: Int[Tensor, " document"],
    seed: int,
    *,
    vocabulary: int,
    banned: Sequence[int] = (),
) -> Documents:
    """Tokens drawn uniformly from the vocabulary, from position `first` on."""
    allowed = torch.tensor([i for i in range(vocabulary) if i not in set(banned)])
    if not len(allowed):
        raise UsageError(
            f"gibberish needs a token to draw, but all {vocabulary} tokens are banned"
        )
    row, position = _places(documents)
    random = generator(seed, "gibberish")
    tokens = allowed[torch.randint(len(allowed), (len(row),), generator=random)]
    return replace(documents, tokens=documents.tokens.where(position < first[row], tokens))


def loops(
    documents: Documents, first: Int[Tensor, " document"], seed: int, *, span: int
) -> Documents:
    """A span of each document, repeated from position `first` on.

    A document without room for the span twice repeats half of the room that there is.
    """
    row, position = _places(documents)
    room = (documents.lengths - first).clamp(min=0)
    spans = (room // 2).clamp(min=1, max=span)
    random = torch.rand(len(room), generator=generator(seed, "loops"), dtype=torch.float64)
    begin = first + (random * (room - spans + 1).clamp(min=1)).long()
    looped = begin[row] + (position - first[row]) % spans[row]
    source = torch.where(position < first[row], position, looped)
    return replace(documents, tokens=documents.tokens[documents.offsets[:-1][row] + source])


def _places(documents: Documents) -> tuple[Int[Tensor, " token"], Int[Tensor, " token"]]:
    """The document of each token, and its position there."""
    row = torch.repeat_interleave(torch.arange(len(documents)), documents.lengths)
    return row, torch.arange(len(documents.tokens)) - documents.offsets[:-1][row]
