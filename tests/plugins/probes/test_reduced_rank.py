import pytest
import torch
from torch.testing import assert_close

from sdelens.estimation.centred import Centred
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import Trajectories
from sdelens_plugins.probes.low_rank.reduced_rank import ReducedRank

DIM = 5


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pairs(count=400):
    """Single steps with correlated states and noise, and the noise's covariance."""
    x = randn(count, DIM) @ randn(DIM, DIM, seed=1)
    mixing = torch.eye(DIM) + 0.5 * randn(DIM, DIM, seed=2)
    matrix = 0.5 * torch.eye(DIM) + randn(DIM, 2, seed=3) @ randn(2, DIM, seed=4)
    y = x @ matrix.mT + randn(count, DIM, seed=5) @ mixing.mT + 1.0
    block = Trajectories.from_states(torch.stack([x, y], 1), 1.0)
    return block, (mixing @ mixing.mT).double()


def problem(block, covariance, **settings):
    moments = Moments.of(block, times_of(block))
    centred = Centred.of(moments, position=False, shrinkage=1.0)
    return ReducedRank(centred, covariance, **settings)


def distance(block, covariance, ridge, diagonal, left, right):
    """What is minimised, from the states themselves: the definition."""
    step = block.flat()
    x, y = step.x.double(), step.following.double()
    level = ridge * x.square().sum(0)
    x, y = x - x.mean(0), y - y.mean(0)
    low = left @ right.mT
    weight = torch.linalg.inv(covariance)
    residual = y - x * diagonal - x @ low.mT
    return ((residual @ weight) * residual).sum() + (((weight @ low) * low) * level).sum()


@pytest.mark.parametrize("ridge", [0.0, 0.1])
@pytest.mark.parametrize("scalar", [False, True])
def test_no_change_of_the_matrix_comes_nearer(ridge, scalar):
    block, covariance = pairs()
    mean = problem(block, covariance, ridge=ridge, scalar=scalar).fit(2)
    parts = [t.clone().requires_grad_() for t in (mean.diagonal, mean.left, mean.right)]
    found = distance(block, covariance, ridge, *parts)
    found.backward()
    slope = parts[0].grad.sum() if scalar else parts[0].grad
    # per unit of a coefficient, beside a curvature of about 400 states
    assert slope.abs().max() < 2
    assert parts[1].grad.abs().max() < 2
    assert parts[2].grad.abs().max() < 2
    for seed in range(5):
        moved = [t + 0.05 * randn(*t.shape, seed=seed).double() for t in parts]
        if scalar:
            moved[0] = parts[0] + 0.05
        assert distance(block, covariance, ridge, *moved) > found


def test_strong_interactions_do_not_drive_the_diagonal_away():
    block, covariance = pairs()
    mean = problem(block, covariance).fit(2)
    # 400 transitions and 5 coordinates: chi-square with about 2000 degrees of freedom
    found = distance(block, covariance, 0.0, mean.diagonal, mean.left, mean.right)
    assert abs(float(found) - 2000) < 4 * (2 * 2000) ** 0.5
    assert_close(mean.diagonal, torch.full((DIM,), 0.5).double(), rtol=0, atol=0.2)


def test_with_every_rank_it_is_least_squares():
    block, covariance = pairs()
    mean = problem(block, covariance, ridge=0.0).fit(DIM)
    step = block.flat()
    x, y = step.x.double(), step.following.double()
    x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    truth = torch.linalg.lstsq(x, y).solution
    assert_close(mean.dense().matrix, truth[:DIM].mT, rtol=1e-6, atol=1e-6)
    assert_close(mean.by_time[0], truth[DIM], rtol=1e-6, atol=1e-6)


def test_without_rank_it_is_the_diagonal_of_generalised_least_squares():
    block, covariance = pairs()
    mean = problem(block, covariance).fit(0)
    diagonal = mean.diagonal.clone().requires_grad_()
    none = torch.zeros(DIM, 0).double()
    distance(block, covariance, 0.0, diagonal, none, none).backward()
    assert mean.rank == 0
    # a Newton step gains the square of this over twice a curvature of about 400 states
    assert diagonal.grad.abs().max() < 0.5


def test_dense_and_factored_means_agree():
    block, covariance = pairs()
    mean = problem(block, covariance).fit(2)
    x, t = randn(4, 3, DIM).double(), torch.zeros(4, 3).double()
    token = torch.zeros(4, 3, dtype=torch.long)
    assert_close(mean(t, x, token), mean.dense()(t, x, token))
