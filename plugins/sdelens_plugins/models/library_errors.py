"""Errors of the libraries that load a model, in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from sdelens.errors import SdelensError, UsageError, disk_is_full, message_of, ran_out, words_of

SAID = 200
"""Maximum number of a library's characters in an error."""


@contextmanager
def as_usage_error(what: str, expected: str = "", *, typed: bool = True) -> Iterator[None]:
    """Whatever a library raises, as a `UsageError`: what failed, its words, what was expected.

    Its words begin with the type of the error if `typed`. Scarce memory and disk are passed on.
    """
    try:
        yield
    except SdelensError:
        raise
    except Exception as error:
        if ran_out(error) or disk_is_full(error):
            raise
        words = words_of(error) if typed else message_of(error)
        raise UsageError(f"{what} ({' '.join(words.split())[:SAID]}){expected}") from error
