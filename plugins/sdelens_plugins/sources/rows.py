"""Documents from rows with named columns: texts, conversations, or answers with their prompts.

The numbers of a row, including those of nested objects such as ``labels``, are its annotations. If
a row has a list of texts, other lists of the same length have one entry per text. A row without a
text is an empty document, which a run leaves out and counts.
"""

import math
import random
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sdelens.errors import UsageError
from sdelens.language.chat import Message, answer_document, conversation
from sdelens.paths.documents import Document
from sdelens.protocols import LanguageModel
from sdelens.states.capturing import encode_document
from sdelens.states.requirements import is_empty
from sdelens.unicode_text import with_replacements
from sdelens_plugins.sources.prompts import messages_of

PAIRS = (("prompt", "response"), ("prompt", "responses"), ("question", "answer"))
"""Columns of a prompt and its answer(s), which are used together."""
MESSAGES = "messages"


@dataclass(frozen=True)
class Columns:
    """The columns with the texts: one of texts or conversations, or a prompt and its answer(s)."""

    text: str
    prompt: str | None = None


def columns_of(names: Iterable[str], wanted: str | None, where: str) -> Columns:
    """The wanted column, or else a pair of `PAIRS`, ``messages``, ``text``, or the only one."""
    known = list(names)
    listed = ", ".join(known)
    if wanted is not None and wanted not in known:
        raise UsageError(f"{where} has no column {wanted!r}: its columns are {listed}")
    for prompt, answer in PAIRS:
        if prompt in known and answer in known and wanted in (None, answer):
            return Columns(answer, prompt)
    if wanted is not None:
        return Columns(wanted)
    if usual := [name for name in (MESSAGES, "text") if name in known]:
        return Columns(usual[0])
    if len(known) == 1:
        return Columns(known[0])
    raise UsageError(f"which column of {where} holds the texts? Give --column; there are {listed}")


def documents_of_rows(
    rows: Iterable[Mapping[str, Any]],
    columns: Columns,
    model: LanguageModel,
    *,
    documents: int,
    length: int,
    seed: int | None,
    template: bool = True,
) -> Iterator[Document]:
    """At most `documents` documents with a text, from rows in a random order given by the seed.

    Without a seed, rows are read in their order, and only as many as are needed. With `template`,
    conversations are in the chat template of the model if it has one.
    """
    numbered: Iterable[tuple[int, Mapping[str, Any]]] = enumerate(rows, start=1)
    if seed is not None:
        numbered = list(numbered)
        random.Random(seed).shuffle(numbered)
    made = Rows(columns, model, length, template)
    for document in made.documents(numbered):
        yield document
        documents -= not is_empty(model.card, document)
        if documents <= 0:
            return


@dataclass(frozen=True, eq=False)
class Rows:
    """Makes documents of rows."""

    columns: Columns
    model: LanguageModel
    length: int
    template: bool
    groups: dict[str, int] = field(default_factory=dict)
    """Number of the group of each prompt."""

    def documents(self, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[Document]:
        """The documents of each row; the row of an error is numbered from 1."""
        given = {self.columns.text, self.columns.prompt}
        for number, row in rows:
            for own in _each(row, self.columns.text):
                notes = annotations(own, given)
                for document in self._of(own, number):
                    yield replace(document, annotations=notes)

    def _of(self, row: Mapping[str, Any], number: int) -> Iterator[Document]:
        value = row.get(self.columns.text)
        if isinstance(value, list):
            yield from self._turns(messages_of(value, self.columns.text, number))
            return
        text = _text(row, self.columns.text, number)
        if self.columns.prompt is None or not text:
            yield Document(tuple(encode_document(self.model, text, length=self.length)))
        else:
            yield self._answer(conversation(_text(row, self.columns.prompt, number)), text)

    def _turns(self, messages: Sequence[Message]) -> Iterator[Document]:
        """One document per message of the assistant, after the messages before it."""
        places = [k for k, message in enumerate(messages) if message["role"] == "assistant" and k]
        if not places:
            yield Document(())
        for place in places:
            yield self._answer(messages[:place], messages[place]["content"])

    def _answer(self, messages: Sequence[Message], answer: str) -> Document:
        """An answer, in one group with all answers in conversations that begin alike."""
        asked = next((m["content"] for m in messages if m["role"] == "user"), "")
        group = self.groups.setdefault(asked, len(self.groups))
        return answer_document(
            self.model,
            messages,
            answer,
            length=self.length,
            group=group,
            template=self.template,
        )


def _each(row: Mapping[str, Any], column: str) -> Iterator[Mapping[str, Any]]:
    """The row itself, or one row per entry if the column contains a list."""
    texts = row.get(column)
    turns = isinstance(texts, list) and all(isinstance(text, Mapping) for text in texts)
    if turns or not isinstance(texts, list):
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
