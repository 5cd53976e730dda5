"""Conformance checks of sources."""

from collections.abc import Callable
from dataclasses import dataclass

from sdelens.paths.documents import Document
from sdelens.protocols import LanguageModel, Source
from sdelens.runs.reading import valid
from sdelens.testing.promises import Untouched, require_settings, state_of_model
from sdelens.testing.small_model import small_model

SEED = 5


@dataclass(frozen=True, eq=False)
class Read:
    """A source, and a small model for which it is read."""

    source: Source

    def documents(self, model: LanguageModel | None = None, seed: int = SEED) -> list[Document]:
        """All documents of the source."""
        return list(self.source.documents(model or small_model(), seed=seed))


def settings_are_fields_of_a_frozen_dataclass(read: Read) -> None:
    """Settings are JSON scalars, and building from them gives the same source."""
    require_settings(read.source, "source")


def it_leaves_the_model_and_the_random_state_alone(read: Read) -> None:
    """Reading changes nothing else and leaves no hook."""
    with Untouched(lambda: state_of_model(small_model())):
        read.documents()


def one_seed_gives_the_same_documents(read: Read) -> None:
    """Documents and their order repeat for a seed; other seeds also give documents."""
    assert read.documents() == read.documents(), "two readings with one seed differ"
    assert read.documents(seed=SEED + 1), "another seed gives none"


def documents_are_as_the_model_reads_them(read: Read) -> None:
    """Documents hold valid token ids, start with BOS if the model has one, and fit the context.

    Annotations are numbers.
    """
    card, found = small_model().card, read.documents()
    assert found, "there are no documents"
    for number, document in enumerate(found):
        assert isinstance(document, Document), f"{document!r} is not a Document"
        ids, which = document.tokens, f"document {number}"
        assert all(isinstance(i, int) for i in ids), f"{which}: token ids are ints"
        assert all(0 <= i < card.vocabulary for i in ids), (
            f"{which}: ids outside of the vocabulary"
        )
        assert ids[:1] == (card.bos,), f"{which} does not begin with BOS: use encode_document"
        assert ids[1:2] != (card.bos,), f"{which} begins with BOS twice: use encode_document"
        assert len(ids) <= card.context, f"{which} is longer than the context"
        assert 0 <= document.start <= len(ids), f"{which} starts beyond its end"
        try:
            valid(document, card)
        except (TypeError, ValueError) as error:
            raise AssertionError(f"{which}: {error}") from error


def a_model_in_bfloat16_reads_too(read: Read) -> None:
    """A source also works for a model in bfloat16."""
    assert read.documents(small_model("bfloat16")), "there are no documents"


SOURCE: tuple[Callable[[Read], None], ...] = (
    settings_are_fields_of_a_frozen_dataclass,
    it_leaves_the_model_and_the_random_state_alone,
    one_seed_gives_the_same_documents,
    documents_are_as_the_model_reads_them,
    a_model_in_bfloat16_reads_too,
)
