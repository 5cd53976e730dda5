"""Tokens and numbers in words, for tables, figures and sentences."""

import math


def visible(token: str) -> str:
    r"""A token with visible signs for white space, and codes for unprintable characters.

    >>> visible(" the\n")
    '·the⏎'
    """
    return "".join(_SIGNS.get(c) or (c if c.isprintable() else f"\\x{ord(c):02x}") for c in token)


_SIGNS = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍"}


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural if needed.

    >>> counted(1, "thread"), counted(1200, "thread")
    ('1 thread', '1,200 threads')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def aligned(*numbers: float) -> list[str]:
    """Numbers with as many decimals as give the largest two digits, but three to six.

    >>> aligned(0.00021, -0.00002), aligned(1.25, 0.5)
    (['0.00021', '-0.00002'], ['1.250', '0.500'])
    """
    largest = max((abs(number) for number in numbers if math.isfinite(number)), default=0.0)
    decimals = 1 - math.floor(math.log10(largest)) if largest else 3
    return [f"{number:.{min(max(decimals, 3), 6)}f}" for number in numbers]
