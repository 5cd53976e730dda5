"""Documents from rows with named columns: plain texts, or responses with their prompts.

The numbers of a row, including those of nested objects such as ``labels``, are its annotations. If
a row has a list of texts, other lists of the same length have one entry per text. A row without a
text is an empty document, which a run leaves out and counts.
"""

import math
import random
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sdelens.errors import UsageError
from sdelens.paths.documents import Document
from sdelens.protocols import LanguageModel
from sdelens.states.capturing import encode_document
from sdelens.unicode_text import with_replacements

RESPONSES = ("response", "responses")
SEPARATOR = "\n\n"
"""Separator between a prompt and its response."""


@dataclass(frozen=True)
class Columns:
    """The columns with the texts: one of plain texts, or a prompt and its response(s)."""

    text: str
    prompt: str | None = None


def columns_of(names: Iterable[str], wanted: str | None, where: str) -> Columns:
    """The wanted column, or else ``prompt`` with ``response(s)``, ``text``, or the only one."""
    known = list(names)
    if wanted is not None:
        if wanted not in known:
            listed = ", ".join(known)
            raise UsageError(f"{where} has no column {wanted!r}: its columns are {listed}")
        prompt = "prompt" if wanted in RESPONSES and "prompt" in known else None
        return Columns(wanted, prompt)
    response = next((name for name in RESPONSES if name in known), None)
    if response and "prompt" in known:
        return Columns(response, "prompt")
    if "text" in known or len(known) == 1:
        return Columns("text" if "text" in known else known[0])
    listed = ", ".join(known)
    raise UsageError(f"which column of {where} holds the texts? Give --column; there are {listed}")


def documents_of_rows(
    rows: Iterable[Mapping[str, Any]],
    columns: Columns,
    model: LanguageModel,
    *,
    documents: int,
    length: int,
    seed: int,
) -> Iterator[Document]:
    """At most `documents` documents with a text, from rows in a random order given by the seed."""
    listed = list(enumerate(rows, start=1))
    random.Random(seed).shuffle(listed)
    for text, document in _made(listed, columns, model, length):
        yield document
        documents -= bool(text)
        if documents <= 0:
            return


def _made(
    rows: Iterable[tuple[int, Mapping[str, Any]]],
    columns: Columns,
    model: LanguageModel,
    length: int,
) -> Iterator[tuple[str, Document]]:
    """Each text with its document; the row of an error is numbered from 1."""
    groups: dict[str, int] = {}
    given = {columns.text, columns.prompt}
    for number, row in rows:
        for own in _each(row, columns.text):
            text, notes = _text(own, columns.text, number), annotations(own, given)
            if columns.prompt is None or not text:
                ids = encode_document(model, text, length=length)
                yield text, Document(tuple(ids), annotations=notes)
            else:
                prompt = _text(own, columns.prompt, number)
                group = groups.setdefault(prompt, len(groups))
                made = answered(model, prompt, text, length=length, group=group)
                yield text, replace(made, annotations=notes)


def _each(row: Mapping[str, Any], column: str) -> Iterator[Mapping[str, Any]]:
    """The row itself, or one row per entry if the column contains a list."""
    texts = row.get(column)
    if not isinstance(texts, list):
        yield row
        return
    lists = {k: v for k, v in row.items() if isinstance(v, list) and len(v) == len(texts)}
    for number in range(len(texts)):
        yield {**row, **{name: values[number] for name, values in lists.items()}}


def annotations(row: Mapping[str, Any], texts: Container[str | None] = ()) -> dict[str, float]:
    """The finite numbers of a row by column, and those of nested objects by their own names.

    Numbers may be written as text. The columns `texts` are skipped, and a repeated name is
    qualified with the name of its object.

    >>> annotations({"text": "7", "id": "3", "labels": {"coherence": 0.75, "by": "me"}}, {"text"})
    {'id': 3.0, 'coherence': 0.75}
    """
    found: dict[str, float] = {}
    for name, value in row.items():
        if name in texts:
            continue
        inner = value if isinstance(value, Mapping) else {name: value}
        for own, each in inner.items():
            number = _number(each)
            twice = inner is value and (own in row or own in found)
            if number is not None:
                found[with_replacements(f"{name}.{own}" if twice else str(own))] = number
    return found


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(row: Mapping[str, Any], column: str, number: int) -> str:
    """The text in a column, empty if there is none; half characters become U+FFFD."""
    value = row.get(column)
    if value is None or value != value:  # NaN is what pandas writes for no text
        return ""
    if not isinstance(value, str):
        kind = type(value).__name__
        raise UsageError(
            f"column {column!r} must hold texts, got a {kind} in row {number}, {value!r:.50}: "
            "choose another --column or leave that row out"
        )
    return with_replacements(value)


def answered(
    model: LanguageModel, prompt: str, response: str, *, length: int, group: int
) -> Document:
    """A response with its prompt, recorded along the response and truncated to the context."""
    asked = encode_document(model, prompt + SEPARATOR)
    ids = [*asked, *model.encode(response)[:length]][: model.card.context]
    return Document(tuple(ids), start=min(len(asked), len(ids)), group=group)
