r"""Orientation of the one-step mean: a diffusion cannot reverse it.

Paths of a diffusion that start close together move as by a flow, whose derivative has a positive
determinant. In one dimension E[X'|x] therefore increases with x (Karlin and McGregor 1959); with
little noise the determinant of its Jacobian is positive in any dimension. A map that folds or
reflects its states, such as the logistic or the Hénon map, is not observed from a diffusion.
"""

from dataclasses import replace

import torch
from torch import Tensor

from sdelens.estimation.ratio import Ratio, summed
from sdelens.evidence.effects import Effect
from sdelens.evidence.lagged import Lagged
from sdelens.evidence.nested import Standard
from sdelens.laws.jets import pushed
from sdelens.laws.sde import SDE

REVERSED = 0.05
"""Maximum share of states at which the mean may reverse orientation."""
WIDEST = 8
"""Maximum dimension."""
MOST = 4_000
"""Approximate maximum number of test states."""


def orientation(sde: SDE, rows: Lagged, standard: Standard | None, groups: int) -> Effect | None:
    """Share of test states at which the mean reverses orientation; None in high dimension.

    The mean is that of the law, corrected by the regression of `standard` on state and time.
    """
    dim = rows.x.shape[1]
    if dim > WIDEST:
        return None
    some = rows.every(max(1, len(rows.x) // MOST))

    def mean(x: Tensor) -> Tensor:
        following = sde.transition(some.time.to(x), x)
        if standard is None:
            return following.mean
        spread = following.covariance().variance().sqrt()
        return following.mean + spread * standard.expected(replace(some, x=x))

    directions = torch.eye(dim).to(some.x)[:, None].expand(dim, *some.x.shape)
    columns = [pushed(mean, some.x, v)[1] for v in directions]
    folded = (torch.linalg.det(torch.stack(columns, -1).double()) < 0).double()
    ratio = Ratio.of(*summed(folded.detach(), some.group, groups))
    name = "states at which the mean reverses orientation"
    return Effect(name, ratio.value, ratio.stderr, ratio.groups, REVERSED, unit="share")
