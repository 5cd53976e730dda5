"""Altered texts keep what they should, and nothing else."""

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.paths.documents import Document, Documents
from sdelens_plugins.analyzers.surprise.corruptions import gibberish, loops, shuffled_words


@pytest.fixture
def documents():
    """Documents of 60, 4 and 1 tokens whose ids tell where they stood."""
    lengths = ((0, 60), (100, 104), (200, 201))
    return Documents.of(Document(tuple(range(a, b))) for a, b in lengths)


def rows(documents):
    return [list(document.tokens) for document in documents]


def test_words_are_moved_whole_and_the_start_stays(documents):
    begins = torch.tensor([i % 3 == 0 for i in range(65)])
    first = torch.tensor([2, 1, 1])
    found = rows(shuffled_words(documents, begins, first, seed=0))
    assert [sorted(row) for row in found] == rows(documents)
    long = found[0]
    assert long[:2] == [0, 1]
    assert long != list(range(60))
    # 2 is what is left of the word that the start cuts; the others have three pieces
    pieces = [i for i in long[2:] if i != 2]
    assert all(
        b == a + 1 and c == a + 2
        for a, b, c in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True)
    )
    assert found[1][0] == 100
    assert found[2] == [200]


def test_every_word_can_come_first(documents):
    begins = torch.ones(65, dtype=torch.bool)
    first = torch.tensor([0, 0, 0])
    seen = {rows(shuffled_words(documents, begins, first, seed))[1][0] for seed in range(60)}
    assert seen == {100, 101, 102, 103}  # each is missed with probability 0.75**60


def test_gibberish_is_uniform_over_what_is_allowed(documents):
    long = Documents.of([Document((7,) * 8001)])
    found = gibberish(long, torch.tensor([1]), 0, vocabulary=5, banned=[3]).tokens
    assert found[0] == 7
    counts = torch.bincount(found[1:], minlength=5).double()
    assert counts[3] == 0
    # binomial with probability 1/4
    assert (counts[[0, 1, 2, 4]] - 2000).abs().max() < 4 * (8000 * 3 / 16) ** 0.5


def test_gibberish_needs_a_token_to_draw(documents):
    with pytest.raises(UsageError, match="banned"):
        gibberish(documents, torch.tensor([1, 1, 1]), 0, vocabulary=2, banned=[0, 1])


def test_loops_repeat_a_span_of_their_own_document(documents):
    found = rows(loops(documents, torch.tensor([1, 0, 1]), seed=0, span=8))
    long = found[0]
    assert long[0] == 0
    assert long[1:9] == list(range(long[1], long[1] + 8))
    assert all(long[i] == long[i - 8] for i in range(9, 60))
    assert found[1] in ([[100, 101] * 2, [101, 102] * 2, [102, 103] * 2])
    assert found[2] == [200]
    assert [len(row) for row in found] == [60, 4, 1]
