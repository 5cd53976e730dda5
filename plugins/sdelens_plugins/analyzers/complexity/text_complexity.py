"""Measures of the complexity of a text by simple rules for English."""

import math
import re
from dataclasses import dataclass

WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
SENTENCE = re.compile(r"[.!?]+(?=\W|$)|\n\s*\n")
WINDOW = 25
"""The number of words in a window of the type-token ratio."""
MIN_WORDS = 5
"""Texts with fewer words have no measures."""
_MARKERS = """
because although though while whereas since unless until if when whenever where wherever
whether that which who whom whose after before once and but or nor so yet
"""
MARKERS = frozenset(_MARKERS.split())
"""Words that usually begin a clause."""


@dataclass(frozen=True)
class TextComplexity:
    """Measures of one text; NaN for texts of fewer than `MIN_WORDS` words."""

    sentence_length: float
    """Words per sentence."""
    clauses: float
    """Clauses per sentence: one, and one for each word of `MARKERS` or semicolon inside it."""
    diversity: float
    """The moving-average type-token ratio over `WINDOW` words (Covington and McFall 2010)."""
    word_length: float
    """Letters and digits per word."""

    @classmethod
    def of(cls, text: str) -> "TextComplexity":
        """The measures of a text.

        >>> text = TextComplexity.of("The cat sat there because it was warm. It slept.")
        >>> text.sentence_length, text.clauses
        (5.0, 1.5)
        """
        words = [word.lower() for word in WORD.findall(text)]
        if len(words) < MIN_WORDS:
            return cls(*[math.nan] * 4)
        parts = [WORD.findall(part) for part in SENTENCE.split(text)]
        sentences = max(1, sum(map(bool, parts)))
        inside = sum(word.lower() in MARKERS for part in parts for word in part[1:])
        return cls(
            sentence_length=len(words) / sentences,
            clauses=1 + (inside + text.count(";")) / sentences,
            diversity=type_token_ratio(words),
            word_length=sum(map(len, words)) / len(words),
        )


def type_token_ratio(words: list[str], window: int = WINDOW) -> float:
    """The mean share of distinct words over all windows, or over all words if they are fewer.

    >>> type_token_ratio(["a", "b", "a", "b"], window=2)
    1.0
    """
    if len(words) <= window:
        return len(set(words)) / len(words)
    counts: dict[str, int] = {}
    for word in words[:window]:
        counts[word] = counts.get(word, 0) + 1
    total = len(counts)
    for removed, added in zip(words, words[window:], strict=False):
        counts[added] = counts.get(added, 0) + 1
        counts[removed] -= 1
        if not counts[removed]:
            del counts[removed]
        total += len(counts)
    return total / ((len(words) - window + 1) * window)
