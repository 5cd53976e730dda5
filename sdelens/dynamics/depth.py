r"""One linear map per step through the depth of a model, in closed form.

:math:`E[x_{t+1}|x_t] = A_t x_t + c_t` is fitted by ridge regression of the increment on the state,
so that unidentified directions keep the identity map of the residual stream. The polar
decomposition :math:`A_t = Q_t P_t` splits a map into a stretch P and a rotation Q
(Sarfati, Liu, Boulle and Earls, "Lines of Thought in Large Language Models", ICLR 2025, who take
Q from the states' singular vectors at both depths).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.paths.basis import Basis
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator

PARTS = 10
"""Parts of the training documents for the jackknife."""
MOST = 2**30
"""Maximum bytes of moments; wide states get fewer parts."""


def metric(basis: Basis) -> Float[Tensor, "latent latent"]:
    r"""L with :math:`LL^\top = DD^\top`: :math:`|zL|` is a length in the model's coordinates."""
    decoder = basis.decoder.double()
    root: Tensor = torch.linalg.cholesky(decoder @ decoder.mT)
    return root


def lengthwise(basis: Basis, block: Trajectories) -> Float[Tensor, "path time latent"]:
    """States in kept coordinates, rotated so that lengths and angles are the model's own."""
    t = block.times.expand(block.mask.shape)
    return basis.encode(t, block.states).double() @ metric(basis)


@dataclass(frozen=True, eq=False)
class DepthMoments:
    """Counts, sums and sums of products of states at each depth and with the next depth."""

    count: Float[Tensor, "*part"]
    first: Float[Tensor, "*part depth dim"]
    second: Float[Tensor, "*part depth dim dim"]
    cross: Float[Tensor, "*part step dim dim"]
    """Sums of products of the next state with the state."""
    swapped: Float[Tensor, "*part step dim dim"]
    """The same for a random walk with drift: the state plus the increment of another path."""

    @classmethod
    def of(
        cls,
        basis: Basis,
        paths: Iterable[Trajectories],
        groups: Int[Tensor, " document"],
        *,
        seed: int,
    ) -> "DepthMoments":
        """Sums for each part of the training documents, in one pass; all paths share times."""
        sums: list[Tensor] = []
        random = generator(seed, "swap")
        for block in paths:
            y = lengthwise(basis, block)
            depths, dim = y.shape[1:]
            parts = max(1, min(PARTS, MOST // (32 * depths * dim * dim)))
            if not sums:
                sums = _zeros(parts, depths, dim, y)
            part = groups.to(block.document.device)[block.document] % parts
            for own in torch.unique(part).tolist():
                for total, found in zip(sums, _products(y[part == own], random), strict=True):
                    total[own] += found
        return cls(*sums)

    @property
    def parts(self) -> int:
        """Number of parts that contain documents."""
        return int((self.count > 0).sum())

    def total(self) -> "DepthMoments":
        """Sums over all parts."""
        return DepthMoments(*(getattr(self, field.name).sum(0) for field in fields(self)))

    def without(self, part: int) -> "DepthMoments":
        """Sums over all parts except one."""
        sums = (getattr(self, field.name) for field in fields(self))
        return DepthMoments(*(each.sum(0) - each[part] for each in sums))


def _zeros(parts: int, depths: int, dim: int, like: Tensor) -> list[Tensor]:
    square = (dim, dim)
    shapes = ((), (depths, dim), (depths, *square), (depths - 1, *square), (depths - 1, *square))
    return [like.new_zeros(parts, *shape) for shape in shapes]


def _products(
    y: Float[Tensor, "path depth dim"], random: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Count, sums and products; the other path is the next one in a random cycle."""
    order = torch.randperm(len(y), generator=random).to(y.device)
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    by_depth = rearrange(y, "path depth dim -> depth path dim")
    before = by_depth[:-1]
    walked = before + by_depth.diff(dim=0)[:, other]
    return (
        y.new_tensor(float(len(y))),
        y.sum(0),
        by_depth.mT @ by_depth,
        by_depth[1:].mT @ before,
        walked.mT @ before,
    )


@dataclass(frozen=True, eq=False)
class DepthMaps:
    """The linear maps, and the covariance of the states they act on."""

    matrix: Float[Tensor, "step dim dim"]
    offset: Float[Tensor, "step dim"]
    spread: Float[Tensor, "depth dim dim"]
    """The covariance of the states at each depth."""

    @classmethod
    def of(
        cls, moments: DepthMoments, *, ridge: float = 1e-4, swapped: bool = False
    ) -> "DepthMaps":
        """Ridge regression of increments; the penalty is a share of the states' mean variance."""
        mean = moments.first / moments.count
        spread = moments.second / moments.count - mean[:, :, None] * mean[:, None]
        cross = (moments.swapped if swapped else moments.cross) / moments.count
        cross = cross - mean[1:, :, None] * mean[:-1, None]
        identity = torch.eye(mean.shape[1]).to(mean)
        level = spread[:-1].diagonal(dim1=-2, dim2=-1).mean(-1)
        gram = spread[:-1] + ridge * level[:, None, None] * identity
        change = torch.linalg.solve(gram, (cross - spread[:-1]).mT).mT
        matrix = identity + change
        offset = mean[1:] - (matrix @ mean[:-1, :, None])[..., 0]
        return cls(matrix, offset, spread)

    def predict(self, y: Float[Tensor, "path depth dim"]) -> Float[Tensor, "path step dim"]:
        """The predicted state at every depth except the first, from the state before it."""
        return torch.einsum("tij,ptj->pti", self.matrix, y[:, :-1]) + self.offset

    def polar(self) -> tuple[Float[Tensor, "step dim dim"], Float[Tensor, "step dim dim"]]:
        """Rotation Q and symmetric stretch P with A = QP."""
        left, values, right = torch.linalg.svd(self.matrix)
        return left @ right, right.mT @ (values[..., None] * right)

    @property
    def rotation(self) -> Float[Tensor, " step"]:
        r"""Degrees by which states turn: :math:`\arccos E[x\cdot Qx]/E|x|^2` about their mean."""
        turn, _ = self.polar()
        return torch.rad2deg(self._shared(turn).clamp(-1, 1).arccos())

    @property
    def stretch(self) -> Float[Tensor, " step"]:
        """Root mean square growth factor of states about their mean."""
        _, pull = self.polar()
        return self._shared(pull @ pull).clamp(min=0).sqrt()

    @property
    def factors(self) -> Float[Tensor, "step dim"]:
        """All stretch factors, the singular values, largest first."""
        values: Tensor = torch.linalg.svdvals(self.matrix)
        return values

    def _shared(self, form: Float[Tensor, "step dim dim"]) -> Float[Tensor, " step"]:
        """E[x'Fx]/E[x'x] over the states at each depth."""
        spread = self.spread[:-1]
        above = (form * spread.mT).sum((-2, -1))
        return above / spread.diagonal(dim1=-2, dim2=-1).sum(-1)


def jackknifed(
    moments: DepthMoments, *, ridge: float
) -> tuple[Float[Tensor, "step 2"], Float[Tensor, "step 2"]]:
    """Stretch and rotation of each step with jackknife standard errors over documents.

    The errors are NaN with fewer than five parts. With G parts the variance is
    (G - 1)/G times the sum of squares about the mean (Quenouille; Tukey 1958).
    """
    value = _summary(DepthMaps.of(moments.total(), ridge=ridge))
    used = (moments.count > 0).nonzero()[:, 0].tolist()
    if len(used) < 5:
        return value, torch.full_like(value, math.nan)
    each = [_summary(DepthMaps.of(moments.without(part), ridge=ridge)) for part in used]
    stacked = torch.stack(each)
    spread = (stacked - stacked.mean(0)).square().sum(0)
    return value, (spread * (len(used) - 1) / len(used)).sqrt()


def _summary(maps: DepthMaps) -> Float[Tensor, "step 2"]:
    return torch.stack([maps.stretch, maps.rotation], dim=-1)
