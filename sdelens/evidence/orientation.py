r"""Orientation of the one-step mean: a diffusion cannot reverse it.

Paths of a diffusion that start close together move as by a flow, whose derivative has a positive
determinant. In one dimension E[X'|x] therefore increases with x (Karlin and McGregor 1959); with
little noise the determinant of its Jacobian is positive in any dimension. A map that folds or
reflects its states, such as the logistic or the Hénon map, is not observed from a diffusion.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sdelens.estimation.ratio import Ratio, summed
from sdelens.evidence.effects import Effect
from sdelens.evidence.lagged import Lagged
from sdelens.evidence.nested import Standard
from sdelens.laws.jets import pushed
from sdelens.laws.matrices import cholesky
from sdelens.laws.sde import SDE

REVERSED = 0.05
"""Maximum share of states at which the mean may reverse orientation."""
WIDEST = 8
"""Maximum dimension."""
VISIBLE = 0.1
"""Minimum singular value: with less, the state explains less than 0.005 nats of the next one."""
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
    columns = [pushed(mean, some.x, v)[1].detach() for v in directions]
    noise = sde.transition(some.time.to(some.x), some.x).covariance().covariance().detach()
    folded = _reversed(torch.stack(columns, -1).double(), some.x.double(), noise.double())
    ratio = Ratio.of(*summed(folded.double(), some.group, groups))
    name = "states at which the mean reverses orientation"
    return Effect(name, ratio.value, ratio.stderr, ratio.groups, REVERSED, unit="share")


def _reversed(
    jacobian: Float[Tensor, "row dim dim"],
    x: Float[Tensor, "row dim"],
    noise: Float[Tensor, "*row dim dim"],
) -> Bool[Tensor, " row"]:
    """Whether the determinant is negative and no direction is hidden by the noise.

    Singular values are in units of the states' spread before the step, and of the noise after it.
    Without this a coordinate that forgets its past has a determinant of random sign.
    """
    spread = cholesky(torch.cov(x.mT).reshape(jacobian.shape[1:]))
    visible = torch.linalg.solve_triangular(cholesky(noise), jacobian @ spread, upper=False)
    clear = torch.linalg.svdvals(visible)[:, -1] > VISIBLE
    found: Tensor = (torch.linalg.det(jacobian) < 0) & clear
    return found
