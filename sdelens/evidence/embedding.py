r"""The embedding problem for linear one-step laws, with a bootstrap over documents.

:math:`X' = AX + c + \varepsilon` is the one-step law of an Ornstein-Uhlenbeck process if A has a
real logarithm and the diffusion that gives :math:`\mathrm{Cov}\,\varepsilon` is positive
semi-definite.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator

BLOCKS = 100
"""Maximum number of bootstrap units; more documents are pooled into this many blocks."""
REPLICATES = 200
RIDGE = 1e-6


def embeddable(
    matrix: Float[Tensor, "batch dim dim"], covariance: Float[Tensor, "batch dim dim"]
) -> Bool[Tensor, " batch"]:
    r"""Whether a linear law with this step matrix and noise covariance is that of a linear SDE.

    The logarithm of the matrix is real unless an eigenvalue is zero or negative. In the eigenbasis
    of the matrix, the diffusion is the covariance divided by
    :math:`(\lambda_i\lambda_j-1)/(\log\lambda_i+\log\lambda_j)`.
    """
    values, vectors = torch.linalg.eig(matrix)
    real = ~((values.imag == 0) & (values.real <= 0)).any(-1)
    rates = values.log()
    sums = rates[..., :, None] + rates[..., None, :]
    none = sums == 0
    gains = torch.where(none, 1.0, torch.expm1(sums) / torch.where(none, 1.0, sums))
    inverse = torch.linalg.inv(vectors)
    inside = inverse @ covariance.to(values.dtype) @ inverse.mT
    unit = (vectors @ (inside / gains) @ vectors.mT).real
    unit = torch.where(real[:, None, None] & unit.isfinite(), unit, 0.0)
    levels = torch.linalg.eigvalsh((unit + unit.mT) / 2)
    possible: Tensor = real & (levels[:, 0] >= -1e-6 * levels[:, -1])
    return possible


def embeddable_share(
    paths: Iterable[Trajectories],
    groups: Int[Tensor, " document"],
    axes: Float[Tensor, "dim kept"],
    *,
    seed: int,
    replicates: int = REPLICATES,
) -> float:
    """Share of bootstrap replicates over documents whose linear law is embeddable in an SDE.

    Each replicate draws documents with replacement and fits ``X' = AX + c`` in the coordinates
    ``x @ axes``.
    """
    sums = _sums(paths, groups, axes)
    random = generator(seed, "bootstrap")
    drawn = torch.randint(len(sums), (replicates, len(sums)), generator=random)
    weight = torch.zeros(replicates, len(sums), dtype=torch.float64)
    weight.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
    moments = torch.einsum("rb,bij->rij", weight, sums)
    return float(embeddable(*_linear(moments)).double().mean())


def _sums(
    paths: Iterable[Trajectories],
    groups: Int[Tensor, " document"],
    axes: Float[Tensor, "dim kept"],
) -> Float[Tensor, "block both both"]:
    """Sums of products of ``[1, x, x']`` by block of documents, without empty blocks."""
    blocks = min(int(groups.max()) + 1, BLOCKS)
    kept = axes.shape[1]
    sums = torch.zeros(blocks, 1 + 2 * kept, 1 + 2 * kept, dtype=torch.float64)
    for block in paths:
        steps = block.steps[..., None]
        z = (block.states.double() @ axes.double()).cpu()
        both = torch.cat([torch.ones_like(z[:, 1:, :1]), z[:, :-1], z[:, 1:]], dim=-1)
        both = both.where(steps.cpu(), 0.0)
        number = groups[block.document.cpu()] % blocks
        sums.index_add_(0, number, both.mT @ both)
    sums = sums[sums[:, 0, 0] > 0]
    if len(sums) < 2:
        raise UsageError(
            "a bootstrap needs at least two documents with transitions in training, got "
            f"{len(sums)}: give more documents"
        )
    return sums


def _linear(
    moments: Float[Tensor, "batch both both"],
) -> tuple[Float[Tensor, "batch dim dim"], Float[Tensor, "batch dim dim"]]:
    """Matrix and residual covariance of the least-squares regression of x' on ``[1, x]``."""
    split = (moments.shape[-1] + 1) // 2
    gram, cross = moments[:, :split, :split], moments[:, :split, split:]
    level = gram.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    gram = gram + RIDGE * level * torch.eye(split).to(gram)
    coefficients = torch.linalg.solve(gram, cross)
    left = moments[:, split:, split:] - cross.mT @ coefficients
    return coefficients[:, 1:].mT, left / moments[:, :1, :1]
