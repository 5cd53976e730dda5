"""What a source yields is checked document by document, and no more is asked for than wanted."""

from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch

from sdelens.errors import BrokenPlugin, UsageError
from sdelens.paths.documents import Document
from sdelens.runs.reading import read_documents
from sdelens.testing.small_model import small_model
from tests import checks


@dataclass
class Yielding:
    """A source of given values, without end if they are repeated."""

    values: Any
    documents_wanted: int = 10
    given: list = field(default_factory=list)

    def documents(self, model, *, seed):
        for value in self.values:
            self.given.append(value)
            yield value


def reading(values, **settings):
    source = Yielding(values, **settings)
    found = read_documents(source, small_model(), name="mine", seed=0, watch=lambda _: None)
    return source, found


def document(*args, **settings):
    """A document of any types, as a plugin may make it."""
    with checks.paused():
        return Document(*args, **settings)


WRONG = {
    "a string": ("once upon", "the type is str, not Document"),
    "no ids": (document(None), "NoneType"),
    "floats": (document((1.5,)), "token ids must be integers, got 1.5"),
    "texts": (document(("a",)), "token ids must be integers, got 'a'"),
    "large ids": (document((10**30,)), "is not one of 0 to"),
    "negative ids": (document((-1,)), "the token id -1 is not one of 0 to"),
    "a late start": (document((1,), start=2), "the start 2 is not one of 0 to 1"),
    "a start between": (document((1,), start=0.5), "the start must be integers, got 0.5"),
    "a named group": (document((1,), group="a"), "the group must be integers, got 'a'"),
    "a large group": (document((1,), group=10**30), "must be 0 or more, and below"),
    "a negative group": (document((1,), group=-1), "the group -1 must be 0 or more"),
    "text as annotation": (document((1,), annotations={"who": "me"}), "got 'me' as 'who'"),
    "infinity": (document((1,), annotations={"x": float("inf")}), "got inf as 'x'"),
    "a number as name": (document((1,), annotations={3: 1.0}), "got 1.0 as 3"),
    "a list of notes": (document((1,), annotations=[1]), "annotations must be a mapping"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_invalid_document_breaks_the_source_and_is_named(name):
    wrong, said = WRONG[name]
    with pytest.raises(BrokenPlugin, match=r"the source mine must yield .* document 2") as e:
        reading([Document((1, 2)), Document((3,)), wrong])
    assert said in str(e.value)


def test_integers_and_numbers_of_numpy_and_torch_are_taken():
    ids, note = np.arange(1, 4), {"a": np.float32(0.5), "b": 2, "c": float("nan")}
    _, found = reading([document(tuple(ids), group=np.int64(3), annotations=note)])
    assert found.documents.tokens.tolist() == [1, 2, 3]
    assert found.documents.annotations["a"].tolist() == [0.5]
    assert found.documents.annotations["c"].isnan().all()
    assert reading([document(tuple(torch.tensor([4, 5])))])[1].documents.tokens.tolist() == [4, 5]


def test_an_endless_source_is_stopped_at_the_documents_wanted():
    source, found = reading(Document((k % 7, 1)) for k in count())
    assert len(found.documents) == len(source.given) == 10


def test_empty_documents_are_left_out_counted_and_not_among_those_wanted():
    bos = small_model().card.bos
    empty = [Document(()), Document((bos,))]
    source, found = reading([*empty, *(Document((bos, k)) for k in range(1, 7)), *empty] * 3)
    assert len(found.documents) == 10
    assert found.empty == 6
    assert len(source.given) == 16


def test_nothing_but_empty_documents_is_an_error_even_without_an_end():
    with pytest.raises(UsageError, match="all 3 texts are empty"):
        reading([Document(())] * 3)
    with pytest.raises(UsageError, match="all 1,000 texts are empty"):
        reading(Document(()) for _ in count())
    with pytest.raises(UsageError, match="got none: is the source empty"):
        reading([])


def test_what_a_source_raises_is_its_own_failure():
    with pytest.raises(BrokenPlugin, match="the source mine failed: ZeroDivisionError"):
        reading(1 // k for k in [0])
