"""Fits the laws of `sdelens.estimation.kramers_moyal` in a few passes over the transitions."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.additive import (
    ROUNDING,
    AdditiveMean,
    mean_squares,
    residual_variance,
)
from sdelens.estimation.kramers_moyal import SmoothMean, SmoothNoise, grid_of
from sdelens.estimation.local_linear import LocalLinear
from sdelens.laws.grid import Grid
from sdelens.laws.law import Mean
from sdelens.paths.moments import Moments
from sdelens.paths.trajectories import Paths, Trajectories

REACH = 4.0
"""Half width of the grid in standard deviations."""
BANDWIDTHS = tuple(0.06 * 2 ** (k / 2) for k in range(12))
"""Candidate bandwidths in standard deviations of the state."""
FOLDS = 4
"""Folds of the training paths for cross-validation, which adds to the validation paths."""
WITHIN = 2.0
"""Largest ratio of a covariance to the local average, which matters where data are sparse."""

Plain = Callable[[LocalLinear, float], Tensor]
"""Estimates at the nodes for a bandwidth, for each set of states."""
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Summed loss of one set's estimates on left-out states and their residuals."""


@dataclass(frozen=True, eq=False)
class SmoothedCovariance:
    """Training responses at the nodes of a grid, separately for each fold of the paths."""

    grid: Grid
    unit: Float[Tensor, " dim"]
    count: Float[Tensor, "fold node"]
    sums: Float[Tensor, "fold node value"]

    def local(self) -> LocalLinear:
        """The regression on all states."""
        return LocalLinear(self.grid, self.unit, self.count.sum(0), self.sums.sum(0))

    def left_out(self) -> LocalLinear:
        """Regressions on all folds but one, for each fold, and on all."""
        none = torch.zeros_like(self.count[:1]), torch.zeros_like(self.sums[:1])
        count = self.count.sum(0) - torch.cat([self.count, none[0]])
        sums = self.sums.sum(0) - torch.cat([self.sums, none[1]])
        return LocalLinear(self.grid, self.unit, count, sums)


@dataclass(frozen=True, eq=False)
class ConditionalMoments:
    """Local linear fits around a linear mean, on a grid over the training states.

    The bandwidth is in standard deviations of the state. If it is not given, mean and covariance
    each use the bandwidth whose plain estimate predicts left-out data best; the bias-corrected
    estimate with that bandwidth has error bars that cover.
    """

    train: Paths
    validation: Paths
    linear: AdditiveMean
    moments: Moments
    bandwidth: float | None = None

    def fit(self) -> tuple[SmoothMean, SmoothNoise]:
        """The mean and the noise of one step, in float64."""
        grid = self._grid()
        spread = self._spread(grid, self.linear, lambda residual: residual)
        overall = residual_variance(self.linear, self.moments)

        def distance(values: Tensor, x: Tensor, residual: Tensor) -> Tensor:
            return ((residual - grid.interpolate(values, x)).square() / overall).sum()

        h = self.bandwidth or self._best(spread, self.linear, LocalLinear.plain, distance)
        values = spread.local().estimate(h)
        noise = self._noise(SmoothMean(self.linear, grid.lower, grid.upper, values, values))
        errors = (noise.roots.square().sum(-1) * spread.local().variance(h)[:, None]).sqrt()
        return SmoothMean(self.linear, grid.lower, grid.upper, values, errors), noise

    def _noise(self, mean: SmoothMean) -> SmoothNoise:
        """The covariance of the residuals, around its overall value."""
        raw = self._spread(mean.grid, mean, _products)
        overall = raw.sums.sum((0, 1)) / raw.count.sum()
        apart = SmoothedCovariance(
            raw.grid, raw.unit, raw.count, raw.sums - raw.count[..., None] * overall
        )

        def plain(local: LocalLinear, h: float) -> Tensor:
            return _roots(overall + local.plain(h), overall + local.average(h))

        def nats(roots: Tensor, x: Tensor, residual: Tensor) -> Tensor:
            scale = SmoothNoise(mean.lower, mean.upper, roots, roots)(x[:, 0], x)
            return -scale.log_density(residual).sum()

        h = self.bandwidth or self._best(apart, mean, plain, nats)
        local, near = apart.local(), raw.local().average(h)
        roots = _roots(overall + local.estimate(h), near)
        squared = self._spread(mean.grid, mean, lambda residual: _products(residual).square())
        variance = (squared.local().average(h) - near.square()).clamp(min=0)
        errors = (variance * local.variance(h)[:, None]).sqrt().view_as(roots)
        return SmoothNoise(mean.lower, mean.upper, roots, errors)

    def _best(self, spread: SmoothedCovariance, mean: Mean, plain: Plain, loss: Loss) -> float:
        """The bandwidth with the lowest loss on validation and left-out training paths."""
        # a kernel must span a few nodes
        least = 1.5 * float((spread.grid.spacing / spread.unit).max())
        options = [h for h in BANDWIDTHS if h >= least]
        estimates = [plain(spread.left_out(), h) for h in options]
        losses = torch.zeros(len(options), dtype=torch.float64)
        for fold in range(FOLDS + 1):
            held = _fold(self.train, fold) if fold < FOLDS else self.validation
            for x, residual in _steps(held, mean):
                found = [loss(values[fold], x, residual) for values in estimates]
                losses += torch.stack(found).cpu()
        return options[int(losses.argmin())]

    def _spread(
        self, grid: Grid, mean: Mean, response: Callable[[Tensor], Tensor]
    ) -> SmoothedCovariance:
        """Responses to the residuals of a mean, ignoring states outside the grid."""
        folds = []
        for fold in range(FOLDS):
            sums = grid.lower.new_zeros(grid.size, 1)
            for x, residual in _steps(_fold(self.train, fold), mean):
                inside = grid.inside(x)
                values = response(residual[inside])
                counted = torch.cat([torch.ones_like(values[:, :1]), values], 1)
                sums = sums + grid.spread(x[inside], counted)
            folds.append(sums)
        total = torch.stack(folds)
        return SmoothedCovariance(grid, self._unit(), total[..., 0], total[..., 1:])

    def _unit(self) -> Float[Tensor, " dim"]:
        """Standard deviation of the state on each axis."""
        centre = self.moments.position_x.sum(0) / self.moments.count
        squares = mean_squares(self.moments.xx) / self.moments.count
        return (squares - centre.square()).maximum(ROUNDING * squares).sqrt()

    def _grid(self) -> Grid:
        """A grid over the training states without outliers."""
        centre = self.moments.position_x.sum(0) / self.moments.count
        ends = [x.aminmax(dim=0) for x, _ in _steps(self.train, self.linear)]
        far = REACH * self._unit()
        lower = torch.stack([low for low, _ in ends]).amin(0).maximum(centre - far)
        upper = torch.stack([high for _, high in ends]).amax(0).minimum(centre + far)
        return grid_of(lower, upper)


def _fold(paths: Paths, fold: int) -> Iterator[Trajectories]:
    """Every k-th path, numbered through all blocks."""
    start = 0
    for block in paths:
        number = torch.arange(start, start + len(block.mask), device=block.mask.device)
        yield block.rows((number % FOLDS == fold).nonzero()[:, 0])
        start += len(block.mask)


def _steps(blocks: Iterable[Trajectories], mean: Mean) -> Iterator[tuple[Tensor, Tensor]]:
    """States and residuals of all transitions in float64, block by block."""
    for block in blocks:
        flat = block.flat()
        x = flat.x.double()
        if len(x):
            yield x, flat.following.double() - mean(flat.t.double(), x, flat.token)


def _products(residual: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch square"]:
    """All products of coordinates."""
    return (residual[:, :, None] * residual[:, None]).flatten(1)


def _roots(
    estimate: Float[Tensor, "*set node square"], average: Float[Tensor, "*set node square"]
) -> Float[Tensor, "*set node dim dim"]:
    """Cholesky factors of local covariances, limited relative to the positive local averages."""
    dim = round(estimate.shape[-1] ** 0.5)
    local, near = (part.reshape(*part.shape[:-1], dim, dim) for part in (estimate, average))
    root: Tensor = torch.linalg.cholesky(near)
    white = torch.linalg.solve_triangular(root, local, upper=False)
    white = torch.linalg.solve_triangular(root, white.mT, upper=False)
    values, vectors = torch.linalg.eigh((white + white.mT) / 2)
    held = (vectors * values.clamp(1 / WITHIN, WITHIN)[..., None, :]) @ vectors.mT
    lower: Tensor = torch.linalg.cholesky(root @ held @ root.mT)
    return lower
