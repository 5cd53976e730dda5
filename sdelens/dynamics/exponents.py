r"""Lyapunov exponents: the rate at which two paths under the same noise diverge or converge.

The leading k exponents are time averages of the logarithms of the diagonal of R, where
:math:`Q_{n+1}R_{n+1} = DF_n Q_n` and F is the random map :math:`x \mapsto m(x) + \sigma(x)\xi_n`
(Benettin et al. 1980; for random maps Arnold, "Random Dynamical Systems", 1998). For
state-dependent noise they depend on the choice of the root :math:`\sigma` of the covariance.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from sdelens.dynamics.region import Region
from sdelens.dynamics.step_map import StepMap
from sdelens.laws.jets import pushed
from sdelens.seeds import generator

FAR = 1e3
"""Distance from the mean, in radii of the data, beyond which a path has escaped."""
BATCHES = 10
"""Batches per path for the standard errors."""


@dataclass(frozen=True, eq=False)
class Exponents:
    """Exponents per unit of time, largest first, with batch-means standard errors."""

    value: Float[Tensor, " exponent"]
    stderr: Float[Tensor, " exponent"]
    total: float
    """Sum of the exponents; with all of them, the mean log growth of volume."""
    restarted: int
    """Number of times a path escaped and was restarted."""


def exponents(
    step: StepMap,
    starts: Float[Tensor, "path dim"],
    region: Region,
    *,
    count: int,
    steps: int,
    seed: int,
) -> Exponents:
    """The `count` leading exponents over paths of `steps` steps; the first third is burn-in."""
    random = generator(seed, "exponents")
    kind, (paths, dim) = starts.dtype, starts.shape
    start: Tensor = torch.linalg.qr(
        torch.randn(paths, dim, count, generator=random, dtype=torch.float64)
    )[0]
    first = rearrange(start, "path dim exponent -> exponent path dim").to(kind)
    x, frame, restarted, grown = starts, first, 0, []
    channels = step.channels(starts)
    burn = steps // 3  # a frame turns towards the leading directions as slowly as they differ
    for number in range(burn + steps):
        noise = torch.randn(paths, channels, generator=random, dtype=kind)
        moved, pushed_ = _pushed(step, x, noise, frame)
        q, r = torch.linalg.qr(pushed_.permute(1, 2, 0).double())
        frame = q.permute(2, 0, 1).to(kind)
        far = ~(region.size(moved) < FAR)
        x = torch.where(far[:, None], starts, moved)
        frame = torch.where(far[:, None], first, frame)
        if number >= burn:
            restarted += int(far.sum())
            growth = r.diagonal(dim1=-2, dim2=-1).abs().clamp(min=1e-300).log() / step.dt
            grown.append(torch.where(far[:, None] & ~growth.isfinite(), 0.0, growth))
    return _averaged(torch.stack(grown), restarted)


def _pushed(step: StepMap, x: Tensor, noise: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
    """The next states for given noise, and the propagated frame."""

    def shared(y: Tensor) -> Tensor:
        return step.draw(y, noise)

    moved, carried = vmap(lambda v: pushed(shared, x, v))(frame)
    return moved[0], carried


def _averaged(grown: Float[Tensor, "time path exponent"], restarted: int) -> Exponents:
    """Means over time and paths; batches of a path are treated as independent."""
    count = min(BATCHES, len(grown))
    length = len(grown) // count
    batches = rearrange(
        grown[: count * length],
        "(batch time) path exponent -> batch time path exponent",
        batch=count,
    )
    means = rearrange(batches.mean(1), "batch path exponent -> (batch path) exponent")
    value, error = means.mean(0), means.std(0) / len(means) ** 0.5
    order = value.argsort(descending=True)
    return Exponents(value[order], error[order], float(value.sum()), restarted)
