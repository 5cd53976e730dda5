r"""Closed-form estimates of noise that is the same in every state, constant or by time.

The variances of the residuals at each time are shrunk towards a separable variance, the product of
a profile over coordinates and a level per time, as by k = `PRIOR` additional residuals:
:math:`s_{t,i}^2 = (n_t v_{t,i} + k\,\ell_t w_i) / (n_t + k)`, where :math:`w_i` is the variance
over all times and :math:`\ell_t` the mean over i of :math:`v_{t,i}/w_i`.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.estimation.additive import ROUNDING, AdditiveMean, second_moment
from sdelens.laws.constant_noise import ConstantNoise, NoiseSpec
from sdelens.laws.timed_noise import StatelessNoise, TimedNoise
from sdelens.paths.moments import Moments, nearest, times_of
from sdelens.paths.trajectories import Paths, Trajectories

PRIOR = 16.0
"""Number of pseudo-observations of the separable variance."""
Predict = Callable[[Trajectories], Float[Tensor, "path time dim"]]
"""Function that predicts the expected next state after each state of a block."""


def noise_around(
    spec: NoiseSpec, mean: AdditiveMean, moments: Moments, train: Paths | None
) -> StatelessNoise:
    """Noise around a closed-form mean; noise that is constant in time needs only the moments."""
    if not spec.by_time:
        return ConstantNoise.of(spec, second_moment(mean, moments), moments.count)

    if train is None:
        raise ValueError("deviations at each time require the training paths, got none")

    def predict(block: Trajectories) -> Tensor:
        t = block.times.expand(block.mask.shape)
        return mean.to(block.states.dtype)(t, block.states, block.tokens)

    return timed_noise(spec, predict, train)


@torch.no_grad()
def timed_noise(spec: NoiseSpec, predict: Predict, train: Paths) -> TimedNoise:
    """Fit noise with deviations at each time, in one pass, or two if it is correlated."""
    times = times_of(train)
    count, squares, states = _squares(times, predict, train)
    variance = squares / count[:, None].clamp(min=1)
    least = ROUNDING * states.clamp(min=torch.finfo(states.dtype).tiny) / count.sum()
    overall = (squares.sum(0) / count.sum()).maximum(least)
    family = spec.family(overall.numel())
    if family.isotropic:
        overall = overall.mean().expand_as(overall)
        variance = variance.mean(1, keepdim=True).expand_as(variance)
    level = (variance / overall).mean(1, keepdim=True)
    number = count[:, None]
    shrunk = (number * variance + PRIOR * level * overall) / (number + PRIOR)
    std = shrunk.maximum(least).sqrt()
    if family.scale.independent:
        return TimedNoise(times.float(), std.float())
    total = std.new_zeros(len(overall), len(overall))
    for residual, place, _ in _residuals(times, predict, train):
        whitened = residual / std[place]
        total += whitened.mT @ whitened
    return TimedNoise(times.float(), std.float(), ConstantNoise.of(spec, total / count.sum()))


def _squares(
    times: Float[Tensor, " time"], predict: Predict, train: Paths
) -> tuple[Float[Tensor, " time"], Float[Tensor, "time dim"], Float[Tensor, " dim"]]:
    """Number and squares of the residuals at each time, and the squares of all next states."""
    count, squares, states = torch.zeros(0), torch.zeros(0), torch.zeros(0)
    for residual, place, following in _residuals(times, predict, train):
        if not len(squares):
            squares = residual.new_zeros(len(times), residual.shape[1])
            count, states = residual.new_zeros(len(times)), residual.new_zeros(residual.shape[1])
        squares.index_add_(0, place, residual.square())
        count += torch.bincount(place, minlength=len(times))
        states += following.square().sum(0)
    return count, squares, states


def _residuals(
    times: Float[Tensor, " time"], predict: Predict, train: Paths
) -> Iterator[tuple[Float[Tensor, "row dim"], Int[Tensor, " row"], Float[Tensor, "row dim"]]]:
    """Residuals of each block, the index of the time of each, and the next states, in float64."""
    for block in train:
        steps = block.steps
        t = block.times.expand(block.mask.shape)[:, :-1][steps]
        following = block.states[:, 1:][steps]
        found = following - predict(block)[:, :-1][steps]
        yield found.double(), nearest(times.to(t.device), t), following.double()
