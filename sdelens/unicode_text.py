"""Texts that can be encoded: halves of surrogate pairs are refused or replaced.

They come from texts cut inside an emoji, from escapes in JSON, and from a command line that is not
UTF-8. Imports no torch.
"""

import re

from sdelens.errors import UsageError

HALF = re.compile("[\ud800-\udfff]")


def require_unicode(text: object, what: str) -> str:
    """The text; raises `UsageError` unless it is a string of whole characters."""
    if not isinstance(text, str):
        raise UsageError(f"{what} must be a string, got {type(text).__name__}: give a string")
    if found := HALF.search(text):
        raise UsageError(
            f"{what} must be Unicode, but its character {found.start()} is {found[0]!a}, half of "
            "a pair or a byte that is not UTF-8: remove it, or replace it by U+FFFD"
        )
    return text


def require_prompt(prompt: str | None, what: str) -> str | None:
    """The prompt, if there is one; raises `UsageError` if it is empty or not Unicode."""
    if prompt is None:
        return None
    if not require_unicode(prompt, what).strip():
        raise UsageError(f"{what} is empty: give a text, or leave it out")
    return prompt


def with_replacements(text: str) -> str:
    r"""The text with U+FFFD for each half of a surrogate pair.

    >>> with_replacements("a\ud83d b")
    'a� b'
    """
    return HALF.sub("\ufffd", text)
