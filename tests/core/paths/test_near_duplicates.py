import random

import pytest
import torch

from sdelens.paths.documents import Document, Documents
from sdelens.paths.near_duplicates import grouped_near_duplicates


def text(length, seed):
    return tuple(random.Random(seed).choices(range(500), k=length))


def changed(tokens, *places):
    return tuple(1000 + t if i in places else t for i, t in enumerate(tokens))


def groups_of(*documents):
    grouped, removed = grouped_near_duplicates(Documents.of(documents))
    return grouped.group.tolist(), removed


def test_equal_and_nearly_equal_texts_are_one_unit_and_others_are_not():
    first = text(200, 0)
    cut, edited, half = first[:170], changed(first, 50), first[:100] + text(100, 3)
    found, removed = groups_of(*map(Document, (first, text(200, 1), first, cut, edited, half)))
    assert found == [0, 1, 0, 0, 0, 5]
    assert removed == 3


def test_texts_without_duplicates_keep_their_groups():
    documents = Documents.of(Document(text(60, seed), group=seed // 2) for seed in range(30))
    grouped, removed = grouped_near_duplicates(documents)
    assert removed == 0
    assert grouped.digest() == documents.digest()


def test_groups_that_share_a_near_duplicate_become_one():
    one, other = text(80, 0), text(80, 1)
    documents = [
        Document(one, group=7),
        Document(text(80, 2), group=7),
        Document(changed(one, 3), group=4),
        Document(other, group=4),
        Document(text(80, 5), group=1),
    ]
    assert groups_of(*documents) == ([4, 4, 4, 4, 1], 1)


def test_answers_to_one_long_instruction_are_not_alike_because_of_it():
    instruction = text(300, 0)
    answers = [Document(instruction + text(30, seed), start=300) for seed in (1, 2, 1)]
    assert groups_of(*answers) == ([0, 1, 0], 1)


def test_equal_answers_to_other_questions_are_not_duplicates():
    answers = [Document((*text(100, seed), 5, 6), start=100) for seed in (1, 2)]
    assert groups_of(*answers) == ([0, 1], 0)


@pytest.mark.parametrize("short", [(), (3,), (3, 4, 5, 6)])
def test_texts_shorter_than_a_shingle_are_compared_whole(short):
    assert groups_of(Document(short), Document((9, 9)), Document(short))[0] == [0, 1, 0]


def test_pairs_above_the_threshold_are_rarely_missed():
    # one edit in 63 tokens changes 5 of 59 shingles: a Jaccard similarity of 54/64 = .84
    pairs = [text(63, seed) for seed in range(100)]
    documents = [Document(t) for one in pairs for t in (one, changed(one, 30))]
    groups = torch.tensor(groups_of(*documents)[0]).reshape(-1, 2)
    assert int((groups[:, 0] == groups[:, 1]).sum()) >= 99
    assert len(groups[:, 0].unique()) == 100
