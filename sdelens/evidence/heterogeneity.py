r"""Test for paths that follow different laws: lasting differences in level or in slope.

If :math:`w_t` is the standardised residual of a Markov process and :math:`g(x_t)` a function of
the state, the product :math:`w_s g(x_s) w_t g(x_t)` of two times s < t has mean zero, whatever the
sampling interval, the noise or the start, because :math:`w_t` has mean zero given the past. If
each path i has a coefficient of its own, :math:`w_t = b_i g(x_t) + e_t`, its mean is
:math:`\mathrm{Var}(b)` times :math:`g(x_s)^2 g(x_t)^2`. Only pairs at least a quarter of the path
apart are used, to keep short memory out. The same holds for :math:`w_t^2-1` and paths that
differ in the scale of their noise. (Cochran's Q of per-path slopes has the same purpose,
but its null distribution is wrong for short or nearly integrated paths.)
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.estimation.ratio import Ratio
from sdelens.evidence.effects import Effect
from sdelens.evidence.lagged import Lagged
from sdelens.evidence.nested import Standard
from sdelens.evidence.predictors import FARTHEST

APART = 4
"""Pairs of times are at least this fraction of a path apart: a quarter."""
WORTH = {"level": 1 / 2, "slope": 1 / 2, "noise": 1 / 4}
"""Gain in nats per unit of the variance of a coefficient between paths."""
OF_SCALE = {"noise"}
"""Coefficients of the scale; the others are of the mean."""


def heterogeneity(
    sides: Sequence[Lagged],
    standard: Standard,
    groups: int,
    *,
    thresholds: Sequence[float],
    tolerance: float,
) -> tuple[Effect, ...]:
    r"""Differences between paths in level, in slope and in noise, in nats per dimension.

    They are what knowing the coefficients of its path adds to the prediction of a transition:
    :math:`\tfrac12 \mathrm{Var}(b)\,E[g^2]` for g = 1 and for g(x) = x, and
    :math:`\tfrac14 \mathrm{Var}(\log\sigma^2)` for the noise, averaged over coordinates.
    `thresholds` are those of the mean and of the scale.
    """
    sums = sum(_pair_sums(rows, standard, groups) for rows in sides)
    assert isinstance(sums, Tensor)
    found = []
    for (name, share), (above, below) in zip(WORTH.items(), sums, strict=True):
        ratio = Ratio.of(share * above, below)
        found.append(
            Effect(
                f"differences of {name} between paths",
                ratio.value,
                ratio.stderr,
                ratio.groups,
                thresholds[name in OF_SCALE],
                tolerance=tolerance,
            )
        )
    return tuple(found)


def _pair_sums(
    rows: Lagged, standard: Standard, groups: int
) -> Float[Tensor, "function moment group"]:
    """Sums of products over pairs of times, of w g(x) and of g(x)^2, averaged over coordinates."""
    white = standard(rows).double()
    z = standard.predictors.state(rows.x).double()
    z = (z - z.mean(0)) / z.std(0).clamp(min=1e-12)
    square = white.clamp(-FARTHEST, FARTHEST).square()
    one, excess = torch.ones_like(z), square / square.mean(0).clamp(min=1e-12) - 1
    scores = (white, one), (white * z, z.square()), (excess, one)
    found = torch.zeros(len(WORTH), 2, groups, dtype=torch.float64, device=z.device)
    for number, pair in enumerate(scores):
        for moment, values in enumerate(pair):
            pairs = (values * _until(values, rows.document)).mean(1)
            found[number, moment].index_add_(0, rows.group, pairs)
    return found.cpu()


def _until(
    values: Float[Tensor, "row dim"], document: Int[Tensor, " row"]
) -> Float[Tensor, "row dim"]:
    """Sum of the values of the same document up to a quarter of its length before each row."""
    count = torch.unique_consecutive(document, return_counts=True)[1]
    start = (count.cumsum(0) - count).repeat_interleave(count)
    length = count.repeat_interleave(count)
    end = torch.arange(len(values), device=values.device) - (length // APART).clamp(min=1)
    total = torch.cat([values.new_zeros(1, values.shape[1]), values.cumsum(0)])
    return total[(end + 1).clamp(min=0).maximum(start)] - total[start]
