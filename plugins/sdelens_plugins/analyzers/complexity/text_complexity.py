"""How complex a text is, by plain rules on its words: made for English, approximate anywhere."""

import math
import re
from dataclasses import dataclass

WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
SENTENCE = re.compile(r"[.!?]+(?=\W|$)|\n\s*\n")
WINDOW = 25
"""Words in a window of the type-token ratio."""
LEAST = 5
"""Texts with fewer words have no measures."""
_MARKERS = """
because although though while whereas since unless until if when whenever where wherever
whether that which who whom whose after before once and but or nor so yet
"""
MARKERS = frozenset(_MARKERS.split())
"""Words that mostly open another clause."""


@dataclass(frozen=True)
class TextComplexity:
    """Measures of one text; NaN for one of fewer than `LEAST` words."""

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

        >>> one = Complexity.of("The cat sat there because it was warm. It slept.")
        >>> one.sentence_length, one.clauses
        (5.0, 1.5)
        """
        words = [word.lower() for word in WORD.findall(text)]
        if len(words) < LEAST:
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
    """The mean share of different words over all windows; over all words where they are fewer.

    >>> type_token_ratio(["a", "b", "a", "b"], window=2)
    1.0
    """
    if len(words) <= window:
        return len(set(words)) / len(words)
    counts: dict[str, int] = {}
    for word in words[:window]:
        counts[word] = counts.get(word, 0) + 1
    total = len(counts)
    for gone, new in _ends(words, window):
        counts[new] = counts.get(new, 0) + 1
        counts[gone] -= 1
        if not counts[gone]:
            del counts[gone]
        total += len(counts)
    return total / ((len(words) - window + 1) * window)


def _ends(words: list[str], window: int) -> list[tuple[str, str]]:
    """What leaves and what enters as the window moves on."""
    return list(zip(words, words[window:], strict=False))
