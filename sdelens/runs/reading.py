"""Reads the documents of a source and checks each, because a plugin may yield anything."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from numbers import Real
from operator import index
from typing import Any

from sdelens.containment.contained import contained
from sdelens.containment.study_state import parts_of
from sdelens.errors import BrokenPlugin, UsageError
from sdelens.origin import ModelCard
from sdelens.paths.documents import Document, Documents
from sdelens.protocols import LanguageModel, SizedSource, Source
from sdelens.runs.in_memory import GivenSource
from sdelens.states.requirements import is_empty, require_tokens
from sdelens.unicode_text import with_replacements
from sdelens.wording import counted

MOST_EMPTY = 100
"""Documents that are read at most for each wanted one, most of them empty."""
UNKNOWN = 2**62
"""Bound of token ids if the size of the vocabulary is unknown, and of groups."""


@dataclass(frozen=True, eq=False)
class SourceReading:
    """The documents of a source, and the number of empty ones that were left out."""

    documents: Documents
    empty: int


def read_documents(
    source: Source,
    model: LanguageModel,
    *,
    name: str,
    seed: int,
    watch: Callable[[int], object],
) -> SourceReading:
    """At most `documents_wanted` documents with tokens; texts in memory are taken unchanged.

    Raises `BrokenPlugin` for anything that is not a valid `Document`, naming its number.
    """
    if isinstance(source, GivenSource):
        require_tokens(model.card, source.given)
        return SourceReading(source.given, 0)
    wanted = source.documents_wanted if isinstance(source, SizedSource) else None
    found: list[Document] = []
    empty = 0
    with contained(f"the source {name}", parts=parts_of(model)):
        for document in _checked(source, model, name, seed, wanted):
            if is_empty(model.card, document):
                empty += 1
                continue
            found.append(document)
            watch(1)
            if len(found) == wanted:
                break
    if not found and empty:
        raise UsageError(f"all {counted(empty, 'text')} are empty: check the file and --column")
    return SourceReading(Documents.of(found), empty)


def _checked(
    source: Source, model: LanguageModel, name: str, seed: int, wanted: int | None
) -> Iterator[Document]:
    most = None if wanted is None else MOST_EMPTY * wanted
    for number, each in enumerate(islice(source.documents(model, seed=seed), most)):
        try:
            yield valid(each, model.card)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise BrokenPlugin(
                f"the source {name} must yield valid documents, but of document {number} "
                f"{error}: report it to its authors"
            ) from error


def valid(document: Any, card: ModelCard) -> Document:
    """The document in plain types; raises `TypeError` or `ValueError` with a reason."""
    if not isinstance(document, Document):
        raise TypeError(f"the type is {type(document).__name__}, not Document")
    known = card.vocabulary or UNKNOWN
    tokens = tuple(_integer(token, "token ids") for token in document.tokens)
    if outside := [token for token in tokens if not 0 <= token < known]:
        raise ValueError(f"the token id {outside[0]} is not one of 0 to {known - 1}")
    start = _integer(document.start, "the start")
    if not 0 <= start <= len(tokens):
        raise ValueError(f"the start {start} is not one of 0 to {len(tokens)}")
    group = None if document.group is None else _integer(document.group, "the group")
    if group is not None and not 0 <= group < UNKNOWN:
        raise ValueError(f"the group {group} must be 0 or more, and below {UNKNOWN}")
    return Document(tokens, start, group, _annotations(document.annotations))


def _integer(value: Any, what: str) -> int:
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{what} must be integers, got {value!r:.50}") from None


def _annotations(notes: Any) -> dict[str, float]:
    if not isinstance(notes, Mapping):
        raise TypeError(f"annotations must be a mapping, got {type(notes).__name__}")
    found = {}
    for name, value in notes.items():
        if not isinstance(name, str) or not isinstance(value, Real) or math.isinf(value):
            raise TypeError(
                f"annotations must be finite numbers by name, got {value!r:.50} as {name!r:.50}"
            )
        found[with_replacements(name)] = float(value)
    return found


def empty_words(empty: int) -> list[str]:
    """A sentence on empty texts, if there are any.

    >>> empty_words(0), empty_words(12)
    ([], ['12 empty texts were left out.'])
    """
    verb = "was" if empty == 1 else "were"
    return [f"{counted(empty, 'empty text')} {verb} left out."] if empty else []
