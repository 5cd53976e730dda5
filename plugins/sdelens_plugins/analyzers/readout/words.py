"""Words for tokens, as readout figures and summaries name them."""

from collections.abc import Callable, Sequence

from torch import Tensor

Decode = Callable[[Sequence[int]], list[str]]


LEAST = 1e-3
"""A smaller change of a logit is rounding: no word is named for it."""


NOTHING = "∅"


def named(decode: Decode, ids: Tensor, by: Tensor) -> tuple[str, ...]:
    """The words of tokens; an empty set where nothing changed."""
    words = decode(ids.tolist())
    return tuple(
        word if abs(change) >= LEAST else NOTHING
        for word, change in zip(words, by.tolist(), strict=True)
    )
