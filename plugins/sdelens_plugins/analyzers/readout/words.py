"""Words of tokens whose logit or probability changes."""

from collections.abc import Callable, Sequence

from torch import Tensor

Decode = Callable[[Sequence[int]], list[str]]
SMALLEST_CHANGE = 1e-3
"""A smaller change of a logit is rounding: no word is given for it."""
NO_WORD = "∅"


def changed_words(decode: Decode, ids: Tensor, changes: Tensor) -> tuple[str, ...]:
    """The words of tokens; an empty set where nothing changed."""
    words = decode(ids.tolist())
    return tuple(
        word if abs(change) >= SMALLEST_CHANGE else NO_WORD
        for word, change in zip(words, changes.tolist(), strict=True)
    )
