from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from sdelens.estimation.additive import random_walk
from sdelens.estimation.log_variance import (
    Residuals,
    constant_variance,
    log_linear_noise,
    with_one,
)
from sdelens.estimation.noise import features_of
from sdelens.laws.constant_noise import NoiseSpec
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import Trajectories
from sdelens_plugins.probes.heteroscedastic.reweighted import conjugate_gradients, reweighted

DIM = 3
WEIGHT = torch.tensor([[-0.5, 0.0, 0.4], [0.5, 0.0, 0.2], [0.0, -0.4, 0.2], [0.0, 0.0, 0.3]])


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def seen():
    """Single steps X' = noise of a log-linear variance, in two blocks of unlike size."""
    x = randn(4000, DIM)
    std = (0.5 * with_one(x) @ WEIGHT).exp()
    mixing = torch.linalg.cholesky(0.5 * torch.eye(DIM) + 0.5)
    y = std * (randn(4000, DIM, seed=1) @ mixing.mT)
    blocks = [
        Trajectories.from_states(torch.stack([x[part], y[part]], 1), 1.0)
        for part in (slice(0, 2500), slice(2500, 4000))
    ]
    moments = Moments.of(blocks, times_of(blocks))
    return Residuals(blocks, features_of(moments, 0), zero_mean(moments))


def zero_mean(moments):
    walk = random_walk(moments)
    return replace(walk, matrix=torch.zeros_like(walk.matrix))


def start(seen):
    return constant_variance(seen.features, torch.ones(DIM, dtype=torch.double))


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_the_fit_is_where_the_penalised_likelihood_is_level(seen, ridge):
    noise = log_linear_noise(seen, start(seen), ridge)
    weight = noise.weight.clone().requires_grad_()
    total = -0.25 * 4000 * ridge * weight[1:].square().sum()
    for phi, residual in seen:
        linear = phi @ weight
        total = total - 0.5 * (linear + residual.square() * (-linear).exp()).sum()
    total.backward()
    # a step from there would gain the squared slope over the information, some 2000
    assert float(weight.grad.square().max()) / 2000 < 0.01


def test_coefficients_are_recovered_within_their_fisher_information(seen):
    noise = log_linear_noise(seen, start(seen), 0.0)
    features = seen.features
    slope = noise.weight[1:] / features.std[:, None]
    intercept = noise.weight[0] - features.mean.double() @ slope
    error = (2 * torch.linalg.inv(seen.gram())).diagonal().sqrt()
    scores = (torch.cat([intercept[None], slope]) - WEIGHT) / error[:, None]
    assert scores.abs().max() < 4
    assert abs(float(scores.square().mean()) - 1) < 4 * (2 / 12) ** 0.5


def test_states_far_away_have_the_noise_of_the_edge(seen):
    noise = log_linear_noise(seen, start(seen), 0.0)
    far = torch.tensor([[1e4, 0, 0], [-1e4, 0, 0], [0, 1e4, 0.0]]).double()
    found = noise(torch.zeros(3).double(), far).variance().log()
    assert_close(found[0, 0], noise.most[0])
    assert_close(found[1, 0], noise.least[0])
    assert_close(found[2, 1], noise.least[1])


def test_the_correlation_inside_the_scale_is_found(seen):
    noise = log_linear_noise(seen, start(seen), 0.0).correlated(NoiseSpec("full"), seen)
    root = noise.correlation.scale.root.double()
    found = (root @ root.mT)[[0, 0, 1], [1, 2, 2]]
    # Var r = (1 - r²)²/N, and as much again for the estimated scale
    assert_close(found, torch.full((3,), 0.5).double(), rtol=0, atol=4 * 2**0.5 * 0.75 / 4000**0.5)
    assert noise.correlated(NoiseSpec("diagonal"), seen) is noise


def test_reweighting_solves_the_weighted_normal_equations(seen):
    noise = log_linear_noise(seen, start(seen), 0.0)
    none = torch.zeros(DIM).double()
    mean = reweighted(seen.mean, noise, seen, ridge=0.0, towards=none)
    step = [torch.cat(parts) for parts in zip(*seen, strict=True)]
    x = with_one(torch.cat([block.flat().x for block in seen.paths]).double())
    for i in range(DIM):
        weight = (-noise.log_variance(step[0])[:, i]).exp()
        matrix = x.mT @ (weight[:, None] * x)
        truth = torch.linalg.solve(matrix, x.mT @ (weight * step[1][:, i]))
        found = torch.cat([mean.by_time[0, i : i + 1], mean.matrix[i]])
        # what is left to gain, where a parameter is worth 1
        assert float((found - truth) @ matrix @ (found - truth)) < 0.01


def test_an_infinite_ridge_pulls_the_matrix_to_the_given_diagonal(seen):
    noise = log_linear_noise(seen, start(seen), 0.0)
    own = torch.tensor([0.5, -0.2, 0.0]).double()
    mean = reweighted(seen.mean, noise, seen, ridge=1e6, towards=own)
    assert_close(mean.matrix, own.diag(), rtol=0, atol=1e-3)


def test_conjugate_gradients_solve_a_system_for_every_column():
    roots = randn(4, 6, 6).double()
    matrices = roots @ roots.mT + torch.eye(6)
    right = randn(6, 4, seed=1).double() * 100
    found = conjugate_gradients(
        lambda b: torch.einsum("cij,jc->ic", matrices, b), right, lambda b: b
    )
    truth = torch.linalg.solve(matrices, right.mT[..., None])[..., 0].mT
    assert_close(found, truth, rtol=0, atol=0.05)
