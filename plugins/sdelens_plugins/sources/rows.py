"""From rows with named columns to documents: plain texts, or responses after their prompts."""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sdelens.errors import UsageError
from sdelens.paths.documents import Document
from sdelens.protocols import LanguageModel
from sdelens.states.capturing import opened

RESPONSES = ("response", "responses")
SEPARATOR = "\n\n"
"""Between a prompt and its response."""


@dataclass(frozen=True)
class Columns:
    """Which columns hold the texts: one of plain texts, or a prompt and its response(s)."""

    text: str
    prompt: str | None = None


def columns_of(names: Iterable[str], wanted: str | None, where: str) -> Columns:
    """The column asked for; else ``prompt`` with ``response(s)``, ``text``, or the only one."""
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
    """At most `documents` documents, from rows in an order drawn by the seed."""
    listed = list(rows)
    random.Random(seed).shuffle(listed)
    made = _made(listed, columns, model, length)
    return (document for document, _ in zip(made, range(documents), strict=False))


def _made(
    rows: Iterable[Mapping[str, Any]], columns: Columns, model: LanguageModel, length: int
) -> Iterator[Document]:
    groups: dict[str, int] = {}
    for row in rows:
        texts = row.get(columns.text)
        for value in texts if isinstance(texts, list) else [texts]:
            text = _text(value, columns.text)
            if columns.prompt is None:
                yield Document(tuple(opened(model, text, length=length)))
            else:
                prompt = _text(row.get(columns.prompt), columns.prompt)
                group = groups.setdefault(prompt, len(groups))
                yield answered(model, prompt, text, length=length, group=group)


def _text(value: Any, column: str) -> str:
    if not isinstance(value, str):
        kind = type(value).__name__
        raise UsageError(
            f"column {column!r} must hold texts, got a {kind}, {value!r}: choose another --column "
            "or leave that row out"
        )
    return value


def answered(
    model: LanguageModel, prompt: str, response: str, *, length: int, group: int
) -> Document:
    """A response after its prompt, recorded along the response; cut at the context's end."""
    asked = opened(model, prompt + SEPARATOR)
    ids = [*asked, *model.encode(response)[:length]][: model.card.context]
    return Document(tuple(ids), start=min(len(asked), len(ids)), group=group)
