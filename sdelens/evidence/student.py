"""Quantiles of Student's t, for intervals from few held-out documents."""

from scipy.special import stdtrit


def student(probability: float, groups: int) -> float:
    """Quantile of Student's t with ``max(1, groups - 1)`` degrees of freedom.

    >>> [round(student(0.975, n), 3) for n in (1, 2, 6, 20, 1000)]
    [12.706, 12.706, 2.571, 2.093, 1.962]
    """
    # what scipy.stats.t.ppf calls; importing scipy.stats takes most of a second
    return float(stdtrit(max(1, groups - 1), probability))
