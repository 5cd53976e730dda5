"""Token sequences end to end."""

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.paths.documents import Document, Documents

LISTED = [Document((5, 1, 2)), Document((5,)), Document((5, 3, 4, 9), start=2, group=0)]


def test_documents_come_back_as_they_went_in():
    documents = Documents.of(LISTED)
    assert [d.tokens for d in documents] == [d.tokens for d in LISTED]
    assert documents.lengths.tolist() == [3, 1, 4]
    assert documents.start.tolist() == [0, 0, 2]


def test_a_document_without_a_group_is_a_group_of_its_own():
    groups = Documents.of([*LISTED, Document((7,), group=0)]).group.tolist()
    assert groups[2] == groups[3] == 0
    assert len({groups[0], groups[1], 0}) == 3


def test_a_slice_holds_the_same_documents():
    documents = Documents.of(LISTED)
    part = documents.slice(1, 3)
    assert list(part) == list(documents)[1:]


def test_padding_is_on_the_right():
    assert Documents.of(LISTED).padded().tolist() == [[5, 1, 2, -1], [5, -1, -1, -1], [5, 3, 4, 9]]


def test_empty_documents_are_allowed_among_others():
    documents = Documents.of([Document(()), Document((1, 2)), Document(())])
    assert documents.lengths.tolist() == [0, 2, 0]
    assert documents.padded().shape == (3, 2)
    alone = Documents.of([Document(())])
    assert alone.tokens.dtype == torch.long
    assert alone.padded().tolist() == [[-1]]


NOTED = [
    Document((5, 1, 2), annotations={"coherence": 0.75}),
    Document((5,)),
    Document((5, 3), annotations={"complexity": 1.0, "coherence": 0.0}),
]


def test_annotations_come_back_and_none_is_made_up():
    documents = Documents.of(NOTED)
    assert [d.annotations for d in documents] == [d.annotations for d in NOTED]
    assert documents.annotations["complexity"].isnan().tolist() == [True, True, False]
    assert [d.annotations for d in documents.slice(1, 3)] == [d.annotations for d in NOTED[1:]]


def test_saved_tensors_make_the_same_documents():
    documents = Documents.of([*LISTED, *NOTED])
    again = Documents.restore(dict(sorted(documents.tensors().items())))
    assert list(again) == list(documents)
    assert list(again.annotations) == list(documents.annotations)


def test_an_annotation_may_have_the_name_of_a_field():
    documents = Documents.of([Document((1, 2), annotations={"tokens": 3.0, "annotation.a": 1.0})])
    assert list(Documents.restore(documents.tensors())) == list(documents)


def test_what_states_do_not_depend_on_is_not_in_the_digest():
    plain = [Document(d.tokens) for d in NOTED]
    assert Documents.of(NOTED).digest() == Documents.of(plain).digest()


@pytest.mark.parametrize(
    "changed",
    [
        [Document((5, 1, 2, 5)), *LISTED[2:]],
        [Document((5, 1, 2)), Document((5,)), Document((5, 3, 4, 9), start=1, group=0)],
        [Document((5, 1)), Document((2, 5)), LISTED[2]],
        [LISTED[0], LISTED[1], Document((5, 3, 4, 9), start=2)],
    ],
    ids=["joined", "start", "bounds", "group"],
)
def test_the_digest_tells_ids_bounds_starts_and_groups_apart(changed):
    assert Documents.of(changed).digest() != Documents.of(LISTED).digest()
    assert Documents.of(LISTED).digest() == Documents.of(LISTED).digest()


def test_no_documents_is_an_error():
    with pytest.raises(UsageError, match="at least one document"):
        Documents.of([])
