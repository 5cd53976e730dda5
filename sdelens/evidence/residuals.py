r"""Standardised residuals :math:`r = L^{-1}(x'-m)`: N(0, I) under the true Gaussian law."""

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.laws.law import Law
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator

FARTHEST = 8.0
"""Bound on normal scores: beyond it, tail probabilities are below 1e-15 and lose precision."""


def chi_square_score(squares: Float[Tensor, "*batch"], dim: int) -> Float[Tensor, "*batch"]:
    r"""Standard normal score of :math:`|r|^2` under chi-square: :math:`\Phi^{-1}(F(|r|^2))`.

    It is at most :math:`\Phi^{-1}(q)` if x' lies inside the ellipsoid with probability q. The
    smaller of the two tail probabilities is used for precision.
    """
    half = torch.full_like(squares, dim / 2)
    below = torch.special.gammainc(half, squares / 2)
    above = torch.special.gammaincc(half, squares / 2)
    score: Tensor = torch.where(
        below < above, torch.special.ndtri(below), -torch.special.ndtri(above)
    )
    return score.clamp(-FARTHEST, FARTHEST)


@torch.no_grad()
def is_normal(law: Law, block: Trajectories, few: int = 32, tolerance: float = 0.01) -> bool:
    """Whether a law is Gaussian, up to `tolerance` nats per dimension.

    The check compares its log density with that of the Gaussian with the same mean and covariance,
    at the first `few` observations of the path of a latent block with the most transitions.
    """
    row = int(block.steps.sum(1).argmax())
    first = int(block.steps[row].long().argmax())
    part = slice(row, row + 1), slice(first, first + few)
    path = Trajectories(
        states=block.states[part],
        mask=block.mask[part],
        times=block.times.expand(block.mask.shape)[part],
        tokens=block.tokens[part],
        document=block.document[part[0]],
    )
    predicted, following = law.predict(path), path.states.roll(-1, 1)
    normal = predicted.covariance().log_density(following - predicted.mean)
    off = (predicted.log_density(following) - normal)[:, :-1][path.steps].abs()
    return bool(off.mean() <= tolerance * following.shape[-1])


def directions(dim: int, count: int, seed: int) -> Float[Tensor, "dim direction"]:
    """Unit vectors drawn uniformly from the sphere, as columns."""
    random = generator(seed, "directions")
    drawn = torch.randn(dim, count, generator=random, dtype=torch.float64)
    unit: Tensor = drawn / drawn.norm(dim=0)
    return unit
