"""Quantiles of Student's t: held-out documents are often few."""

import math
from functools import cache
from statistics import NormalDist

MANY = 100
"""Degrees of freedom from which on the expansion around the normal quantile is exact enough."""


@cache
def student(probability: float, groups: int) -> float:
    """The quantile of Student's t with `groups` - 1 degrees of freedom; probability above 1/2.

    By bisection of the finite series for whole degrees of freedom (Abramowitz and Stegun 26.7.3
    and 26.7.4), from a hundred on by the expansion 26.7.5.

    >>> [round(student(0.975, n), 3) for n in (2, 6, 20, 1000)]
    [12.706, 2.571, 2.093, 1.962]
    """
    freedom = max(1, groups - 1)
    if freedom >= MANY:
        return _expanded(NormalDist().inv_cdf(probability), freedom)
    low, high = 0.0, 1.0
    while _within(high, freedom) < 2 * probability - 1:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        if _within(middle, freedom) < 2 * probability - 1:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _within(t: float, freedom: int) -> float:
    """The probability of an absolute value below t."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for k in range(2 + odd, freedom + 1, 2):
        total += term
        term *= square * (k - 1) / k
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _expanded(z: float, freedom: int) -> float:
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    added: float = sum(term / freedom**power for power, term in enumerate(terms, start=1))
    return z + added
