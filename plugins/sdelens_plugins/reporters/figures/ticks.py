"""Scales of axes and their ticks, which are few and plain numbers."""

import math
from itertools import product

from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from sdelens.report import Scale

STEPS = (1, 2, 5, 10)


def set_scale(axis: Axis, scale: Scale) -> None:
    """Linear, logarithmic, or logarithmic beyond -1 and 1."""
    if scale != "linear":
        options = {"linthresh": 1} if scale == "symlog" else {}
        axes = axis.axes
        (axes.set_xscale if isinstance(axis, XAxis) else axes.set_yscale)(scale, **options)


def set_ticks(axis: Axis, scale: Scale, *, most: int, integer: bool = False) -> None:
    """At most so many round numbers; for a logarithmic axis, the limits must be set before."""
    low, high = sorted(axis.get_view_interval())
    ticks = [] if scale == "linear" else logarithmic_ticks(low, high, most)
    if len(ticks) < 2:
        axis.set_major_locator(MaxNLocator(most, steps=STEPS, integer=integer))
    else:
        axis.set_major_locator(FixedLocator(ticks))
    if scale != "linear":
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def logarithmic_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two limits; from 1 on either side of zero, if zero is between them.

    >>> logarithmic_ticks(0.3, 30.0, 7)
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]
    >>> logarithmic_ticks(-0.5, 2000.0, 5)
    [0.0, 1.0, 10.0, 100.0, 1000.0]
    """
    smallest = low if low > 0 else 1.0
    powers = range(
        math.floor(math.log10(smallest)), math.ceil(math.log10(max(high, 1.0, -low))) + 1
    )
    for steps in ((1, 2, 5), (1,)):
        sizes = [float(f"{step}e{power}") for power, step in product(powers, steps)]
        ticks = sizes if low > 0 else [*(-size for size in reversed(sizes)), 0.0, *sizes]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: -(-len(ticks) // most)]
