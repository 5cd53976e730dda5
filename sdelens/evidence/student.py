"""Quantiles of Student's t: held-out documents are often few."""

from scipy.special import stdtrit


def student(probability: float, groups: int) -> float:
    """The quantile of Student's t with `groups` - 1 degrees of freedom, at least one.

    >>> [round(student(0.975, n), 3) for n in (1, 2, 6, 20, 1000)]
    [12.706, 12.706, 2.571, 2.093, 1.962]
    """
    # the function behind scipy.stats.t.ppf; importing scipy.stats takes most of a second
    return float(stdtrit(max(1, groups - 1), probability))
