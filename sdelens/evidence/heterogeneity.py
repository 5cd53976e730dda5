r"""Test for paths that follow different laws: lasting differences in level or in slope.

If :math:`w_t` is the standardised residual of a Markov process and :math:`g(x_t)` a function of
the state, the score :math:`\sum_t w_t g(x_t)` of the last third of a path has mean zero given the
first third, whatever the sampling interval, the noise or the start. If each path i has a
coefficient of its own, :math:`w_t = b_i g(x_t) + e_t`, the product of the scores of the first and
last third has the mean :math:`\mathrm{Var}(b)` times the product of their sums of :math:`g^2`. The
middle third keeps short memory out of it. (Cochran's Q of per-path slopes has the same purpose,
but its null distribution is wrong for short or nearly integrated paths.)
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.ratio import Ratio
from sdelens.evidence.effects import Effect
from sdelens.evidence.lagged import Lagged
from sdelens.evidence.nested import Standard

THIRDS = 1 / 3, 2 / 3


def heterogeneity(
    sides: Sequence[Lagged],
    standard: Standard,
    groups: int,
    *,
    threshold: float,
    tolerance: float,
) -> tuple[Effect, Effect]:
    r"""Differences between paths in level and in slope, in nats per dimension.

    They are :math:`\tfrac12 \mathrm{Var}(b)\,E[g^2]` for g = 1 and for g(x) = x, averaged over
    coordinates: what knowing the coefficients of its path adds to the prediction of a transition.
    """
    size = 1 + max(int(rows.document.max()) for rows in sides)
    sums: Tensor | float = 0.0
    group = torch.zeros(size, dtype=torch.long)
    for rows in sides:
        sums = sums + _scores(rows, standard, size)
        group[rows.document.cpu()] = rows.group.cpu()
    assert isinstance(sums, Tensor)
    found = []
    for number, name in enumerate(("paths that differ in level", "paths that differ in slope")):
        (one, other), (weight, more) = sums[number]
        zeros = torch.zeros(groups, dtype=torch.float64)
        above = zeros.index_add(0, group, (one * other).mean(1))
        below = zeros.index_add(0, group, (weight * more).mean(1))
        ratio = Ratio.of(above / 2, below)
        found.append(
            Effect(
                name, ratio.value, ratio.stderr, ratio.groups, threshold, tolerance=tolerance
            )
        )
    return found[0], found[1]


def _scores(
    rows: Lagged, standard: Standard, size: int
) -> Float[Tensor, "function moment third document dim"]:
    """Sums of w g(x) and of g(x)^2 over the first and the last third of each document."""
    white = standard(rows).double()
    z = standard.predictors.state(rows.x).double()
    z = (z - z.mean(0)) / z.std(0).clamp(min=1e-12)
    parts = [rows.place < THIRDS[0], rows.place > THIRDS[1]]
    found = torch.zeros(2, 2, 2, size, z.shape[1], dtype=torch.float64, device=z.device)
    for number, function in enumerate((torch.ones_like(z), z)):
        for moment, values in enumerate((white * function, function.square())):
            for third, inside in enumerate(parts):
                total = found[number, moment, third]
                total.index_add_(0, rows.document, values.where(inside[:, None], 0.0))
    return found.cpu()
