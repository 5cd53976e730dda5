r"""Chapman-Kolmogorov test by lagged moments, valid for nonlinear kernels.

The fitted kernel is simulated for k steps from observed states. The moments :math:`E[f(z_k)]` and
:math:`E[f(z_0)f(z_k)]` of the simulated paths are compared with those of the data from the same
starts, for f(z) = z and f(z) = z^2 - 1 in leading principal coordinates z of unit variance.
(Comparing the autocorrelation :math:`c_k` with :math:`c_1^k` would be valid only for a single
exponential.)
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.estimation.ratio import Ratio
from sdelens.evidence.effects import PROPERTIES, Effect
from sdelens.evidence.process_class import LAGGED
from sdelens.laws.sde import SDE
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import derive

LAGS = (2, 4, 8, 16)
COORDINATES = 4
STARTS = 20_000
"""Maximum number of start states; more are thinned evenly along their paths."""
DRAWS = 8
NAMES = ("mean of x", "mean of x²", "product of x", "product of x²")
UNIT = "standardised"
FARTHEST = 3.0
"""Bound on each coordinate, in standard deviations, so that all moments are finite."""


@dataclass(frozen=True, eq=False)
class Axes:
    """Leading principal coordinates of the training states, each of unit variance.

    Components are those of the states with each coordinate scaled by `weights`, so they do not
    depend on the basis.
    """

    mean: Float[Tensor, " dim"]
    encoder: Float[Tensor, "dim kept"]

    @classmethod
    def of(
        cls,
        paths: Iterable[Trajectories],
        most: int,
        weights: Float[Tensor, " dim"] | None = None,
    ) -> "Axes":
        """The axes from the covariance of all observed states.

        `weights` are the squared lengths of a unit of each coordinate; None for 1.
        """
        count, first, second = 0, torch.zeros(1), torch.zeros(1, 1)
        for block in paths:
            x = block.states[block.mask].double().cpu()
            count, first, second = count + len(x), first + x.sum(0), second + x.mT @ x
        mean = first / count
        scale = torch.ones_like(mean) if weights is None else weights.cpu().double().sqrt()
        covariance = (second / count - mean[:, None] * mean) * scale * scale[:, None]
        values, vectors = torch.linalg.eigh(covariance)
        values, vectors = values.flip(0)[:most], vectors.flip(1)[:, :most]
        kept = values > 1e-6 * values[0]
        axes = scale[:, None] * vectors[:, kept] / values[kept].sqrt()
        return cls(mean.float(), axes.float())

    def leading(self, count: int) -> "Axes":
        """The first `count` axes."""
        return Axes(self.mean, self.encoder[:, :count])

    def __call__(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch kept"]:
        """Coordinates of states, clamped to `FARTHEST`; NaN from a diverging kernel maps to it."""
        z = (x - self.mean.to(x)) @ self.encoder.to(x)
        return z.nan_to_num(nan=FARTHEST).clamp(-FARTHEST, FARTHEST)


@dataclass(frozen=True, eq=False)
class Gaps:
    """Sums over starts of the differences between data and simulation."""

    product: Float[Tensor, "lag moment group kept"]
    """Differences of f(z_k), and the same times f(z_0), in the order of `NAMES`."""
    square: Float[Tensor, "function kept"]
    """Sums of f(z_0)^2 over starts."""
    count: Float[Tensor, "lag group"]

    def __add__(self, other: "Gaps") -> "Gaps":
        mine, theirs = vars(self).values(), vars(other).values()
        return Gaps(*(a + b for a, b in zip(mine, theirs, strict=True)))

    def effects(self, trained: int) -> tuple[Effect, ...]:
        """Absolute differences in units of the standard deviation or variance of f.

        Only lags reached by at least two groups of documents are included. Standard errors include
        that of a fit to `trained` groups.
        """
        reached = [i for i in range(len(LAGS)) if (self.count[i] > 0).sum() > 1]
        variance = self.square / self.count[0].sum()
        level = torch.cat([variance.sqrt(), variance])
        tests = PROPERTIES * len(reached) * level.numel()
        found = []
        for lag, moment, axis in product(reached, range(len(NAMES)), range(level.shape[1])):
            above = self.product[lag, moment, :, axis] / level[moment, axis]
            ratio = Ratio.of(above, self.count[lag])
            name = f"{NAMES[moment]} of PC {axis + 1} at lag {LAGS[lag]}"
            size = abs(ratio.value)
            stderr = ratio.stderr * math.sqrt(1 + ratio.groups / trained)
            found.append(Effect(name, size, stderr, ratio.groups, LAGGED, tests, unit=UNIT))
        return tuple(found)


@torch.no_grad()
def lagged_moments(
    sde: SDE,
    paths: Sequence[Iterable[Trajectories]],
    groups: Int[Tensor, " document"],
    axes: Axes,
    *,
    trained: int,
    seed: int,
) -> tuple[Effect, ...]:
    """Differences between the lagged moments of latent paths and simulated ones.

    There is one effect per lag, moment and coordinate; lags longer than all paths are left out.
    Standard errors are over groups of documents. They include the error of the simulation, and
    that of the fit's coefficients: an efficient fit predicts a moment with at most the error of
    the same moment of the `trained` groups of documents that it was fitted to.
    """
    states = sum(int(block.mask.sum()) for block in chain.from_iterable(paths))
    stride = max(1, math.ceil(states / STARTS))
    total: Gaps | None = None
    for number, block in enumerate(chain.from_iterable(paths)):
        part = _gaps(sde, block, groups, axes, stride, derive(seed, number))
        total = part if total is None else total + part
    return () if total is None else total.effects(trained)


def _gaps(
    sde: SDE,
    block: Trajectories,
    groups: Int[Tensor, " document"],
    axes: Axes,
    stride: int,
    seed: int,
) -> Gaps:
    """Sums of one block, over every `stride`-th state that is observed again at the first lag."""
    path, time = _starts(block, stride)
    z = axes(block.states)
    first, size = _functions(z[path, time]), int(groups.max()) + 1
    group = groups.to(path.device)[block.document[path]]
    products, counts = [], []
    for lag, simulated in zip(LAGS, _simulated(sde, block, path, time, axes, seed), strict=True):
        later = (time + lag).clamp(max=block.mask.shape[1] - 1)
        there = block.mask[path, later] & (time + lag < block.mask.shape[1])
        gap = (_functions(z[path, later]) - simulated).double()
        gap = torch.cat([gap, first * gap]).where(there[:, None], 0.0)
        zeros = gap.new_zeros(len(NAMES), size, gap.shape[-1])
        products.append(zeros.index_add(1, group, gap))
        counts.append(gap.new_zeros(size).index_add(0, group, there.double()))
    square = first.double().square().sum(1)
    return Gaps(torch.stack(products).cpu(), square.cpu(), torch.stack(counts).cpu())


def _starts(block: Trajectories, stride: int) -> tuple[Tensor, Tensor]:
    """Path and time index of the starts; the first start of a path is its first usable state."""
    usable = block.observed(0, LAGS[0])
    order = usable.long().cumsum(1) - 1
    path, time = (usable & (order % stride == 0)).nonzero(as_tuple=True)
    return path, time


def _functions(z: Float[Tensor, "*batch kept"]) -> Float[Tensor, "2 *batch kept"]:
    return torch.stack([z, z.square() - 1])


def _simulated(
    sde: SDE, block: Trajectories, path: Tensor, time: Tensor, axes: Axes, seed: int
) -> Iterator[Float[Tensor, "2 start kept"]]:
    """Yield the means of both functions over draws, at each lag in turn."""
    times = block.times.expand(block.mask.shape)
    t = repeat(times[path, time], "start -> (draw start)", draw=DRAWS)
    x = repeat(block.states[path, time], "start dim -> (draw start) dim", draw=DRAWS)
    for step in range(1, LAGS[-1] + 1):
        x = sde.transition(t, x).sample(derive(seed, step))
        t = t + sde.dt
        if step in LAGS:
            z = rearrange(axes(x), "(draw start) kept -> draw start kept", draw=DRAWS)
            yield _functions(z).mean(1)
