"""Classes of tokens by a simple rule on their text: English function and content words, pieces.

A token begins a word unless it starts with a letter or digit and the previous token ends in one.
A token that begins a word is a first piece if the next token continues it, and else a whole word.
"""

import re
from collections.abc import Sequence
from enum import IntEnum
from itertools import pairwise


class TokenClass(IntEnum):
    """Class of a token."""

    FUNCTION = 0
    CONTENT = 1
    PUNCTUATION = 2
    FIRST = 3
    CONTINUATION = 4
    OTHER = 5

    @property
    def label(self) -> str:
        """The class in words."""
        return LABELS[self]


LABELS = {
    TokenClass.FUNCTION: "function word",
    TokenClass.CONTENT: "content word",
    TokenClass.PUNCTUATION: "punctuation",
    TokenClass.FIRST: "first piece of a word",
    TokenClass.CONTINUATION: "continuation",
    TokenClass.OTHER: "blank or special",
}
_FUNCTION_WORDS = """
a an the this that these those some any no every each either neither both all such
i me my mine myself you your yours yourself he him his himself she her hers herself it its
itself we us our ours ourselves they them their theirs themselves who whom whose which what
and or but nor so yet if than because although though while whereas unless until since
when where why how as whether
of in on at by for with about against between into through during before after above below
to from up down out off over under again near upon within without toward towards across along
around behind beside beyond inside outside per via
am is are was were be been being have has had having do does did doing will would shall should
can could may might must ought
not n't 's 'm 're 've 'll 'd there here then too very just only also even
i'm you're he's she's it's we're they're i've you've we've they've i'll you'll he'll she'll
it'll we'll they'll i'd don't doesn't didn't isn't aren't wasn't weren't won't wouldn't can't
couldn't shouldn't hasn't haven't hadn't that's there's let's what's
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""Determiners, pronouns, conjunctions, prepositions, auxiliaries and particles of English."""
SPECIAL = re.compile(r"<[^\s<>]+>|\[[A-Z]+\]")
"""Special tokens such as ``<s>``, ``<|endoftext|>`` and ``[SEP]``."""


def begins_word(tokens: Sequence[str]) -> list[bool]:
    """Whether each token begins a word, instead of continuing the previous token's.

    >>> begins_word([" re", "ading", ",", " x"])
    [True, False, True, True]
    """
    pairs = pairwise(["", *tokens])
    return [not _goes_on(last, token) for last, token in pairs]


def classify(tokens: Sequence[str]) -> list[TokenClass]:
    """The class of each token of one text, in order.

    >>> [c.name for c in classify(["The", " d", "og", " ran", "."])]
    ['FUNCTION', 'FIRST', 'CONTINUATION', 'CONTENT', 'PUNCTUATION']
    """
    begins = begins_word(tokens)
    continued = [*(not begin for begin in begins[1:]), False][: len(tokens)]
    return [_class(*each) for each in zip(tokens, begins, continued, strict=True)]


def _class(token: str, begins: bool, continued: bool) -> TokenClass:
    word = token.strip()
    if not word or SPECIAL.fullmatch(word):
        return TokenClass.OTHER
    if not any(sign.isalnum() for sign in word):
        return TokenClass.PUNCTUATION
    if not begins:
        return TokenClass.CONTINUATION
    if continued:
        return TokenClass.FIRST
    plain = word.strip('.,;:!?"()').lower().replace("\u2019", "'")
    return TokenClass.FUNCTION if plain in FUNCTION_WORDS else TokenClass.CONTENT


def _goes_on(last: str, token: str) -> bool:
    """Whether a token continues the word of the previous one; an apostrophe may separate them."""
    if not last or not token or SPECIAL.fullmatch(last.strip()) or SPECIAL.fullmatch(token):
        return False
    worded = all(any(sign.isalnum() for sign in each) for each in (last, token))
    return worded and _joins(last[-1]) and _joins(token[0])


def _joins(sign: str) -> bool:
    return sign.isalnum() or sign in "'\u2019"
