"""Prompts from a file, a dataset, a list or the package, as conversations."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdelens.errors import UsageError
from sdelens.language.chat import Message, conversation
from sdelens.unicode_text import with_replacements

QUESTIONS = Path(__file__).parents[1] / "assets" / "questions.txt"
"""Open questions for instruct models, one per line."""
COLUMNS = ("prompt", "question", "instruction", "messages", "text")
"""Columns that hold prompts, in order of preference."""
Conversation = Sequence[Message]


def shipped_questions() -> list[str]:
    """The questions that come with the package."""
    return QUESTIONS.read_text(encoding="utf-8").splitlines()


def prompt_column(names: Iterable[str], wanted: str | None, where: str) -> str:
    """The wanted column, or the first known one, or the only one."""
    known = list(names)
    listed = ", ".join(known)
    if wanted is not None and wanted not in known:
        raise UsageError(f"{where} has no column {wanted!r}: its columns are {listed}")
    found = next((name for name in COLUMNS if name in known), None)
    if wanted is None and found is None and len(known) > 1:
        raise UsageError(
            f"which column of {where} holds the prompts? Give --column; there are {listed}"
        )
    return wanted or found or known[0]


def conversations(
    rows: Iterable[Mapping[str, Any]], column: str, system: str | None
) -> Iterator[Conversation]:
    """The prompt in each row; empty where there is none. Rows of errors are numbered from 1."""
    for number, row in enumerate(rows, start=1):
        value = row.get(column)
        if value is None or value != value or (isinstance(value, str) and not value.strip()):
            yield []
        elif isinstance(value, str):
            yield conversation(with_replacements(value), system)
        else:
            yield _asked(messages_of(value, column, number), system)


def _asked(messages: list[Message], system: str | None) -> list[Message]:
    """The messages up to the last one of the user, under another system prompt if one is given."""
    while messages and messages[-1]["role"] != "user":
        messages = messages[:-1]
    if system is None or not messages:
        return messages
    rest = [message for message in messages if message["role"] != "system"]
    return [{"role": "system", "content": system}, *rest]


def messages_of(value: Any, column: str, number: int) -> list[Message]:
    """A list of messages as strings; raises `UsageError` for anything else."""
    listed = value if isinstance(value, list) else []
    found: list[Message] = [
        {name: with_replacements(message[name]) for name in ("role", "content")}
        for message in listed
        if isinstance(message, Mapping)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str)
    ]
    if not isinstance(value, list) or len(found) < len(listed):
        raise UsageError(
            f"column {column!r} must hold texts, or lists of messages with role and content, got "
            f"{value!r:.80} in row {number}: choose another --column or leave that row out"
        )
    return found


def chosen(prompts: Sequence[Conversation], count: int, seed: int) -> list[Conversation]:
    """All prompts, or `count` of those that are not empty, at random, in their order."""
    places = [place for place, prompt in enumerate(prompts) if prompt]
    if len(places) <= count:
        return list(prompts)
    kept = set(random.Random(seed).sample(places, count))
    return [prompt for place, prompt in enumerate(prompts) if place in kept]
