"""Words in one sentence."""

from collections.abc import Sequence

from sdelens.wording import visible


def word_list(words: Sequence[str]) -> str:
    """Words separated by commas, with "and" before the last.

    >>> word_list(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def quoted(words: Sequence[str]) -> str:
    """Tokens in quotation marks, with visible white space.

    >>> quoted([" the", "cat"])
    '“·the” and “cat”'
    """
    return word_list([f"“{visible(word)}”" for word in words])
