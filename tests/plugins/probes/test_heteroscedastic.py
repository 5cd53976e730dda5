import math

import pytest
import torch
from torch.testing import assert_close

import sdelens
from sdelens.paths.trajectories import Trajectories
from sdelens_plugins.probes.heteroscedastic.probe import HeteroscedasticProbe
from tests.plugins.probes.division import divided, fitted

DIM, LENGTH = 3, 40


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


MATRIX = 0.6 * torch.eye(DIM) + 0.1 * randn(DIM, DIM, seed=1)
SLOPES = 0.35 * randn(DIM, DIM, seed=2)


def log_variance(x):
    return (x @ SLOPES - 1).clamp(-5, 2)


def simulated(seed, paths=300, season=0.0):
    x = 0.5 * randn(paths, DIM, seed=seed)
    states = []
    for step in range(LENGTH + 20):
        season_now = season * math.cos(math.pi * (step - 20) / LENGTH)
        std = (0.5 * (log_variance(x) + season_now)).exp()
        x = x @ MATRIX.mT + std * randn(paths, DIM, seed=10_000 * seed + step)
        states.append(x)
    return torch.stack(states[20:], 1)


@pytest.fixture(scope="module")
def samples():
    return [simulated(seed) for seed in range(1, 9)]


FREE = HeteroscedasticProbe(density="euler", ridge=0.0, noise_ridge=0.0)


def matrix_errors(states):
    """Deviations of A's entries in weighted least squares with the true weights."""
    x = divided(states)[0].flat().x.double()
    phi = torch.cat([torch.ones_like(x[:, :1]), x], 1)
    weight = (-log_variance(x.float())).exp().double()
    information = torch.einsum("np,nd,nq->dpq", phi, weight, phi)
    return torch.linalg.inv(information).diagonal(dim1=1, dim2=2)[:, 1:].sqrt()


def test_the_mean_has_the_errors_of_the_right_weights(samples):
    scores = torch.stack(
        [(fitted(FREE, states).mean.matrix - MATRIX) / matrix_errors(states) for states in samples]
    )
    # 72 scores, nearly independent: their squares' mean has deviation sqrt(2/72)
    assert abs(float(scores.square().mean()) - 1) < 4 * (2 / 72) ** 0.5


def test_weights_make_the_mean_better_than_least_squares(samples):
    unweighted = HeteroscedasticProbe(density="euler", ridge=0.0, noise_ridge=0.0, rounds=0)
    errors = {
        probe.rounds: sum(
            float(
                ((fitted(probe, states).mean.matrix - MATRIX) / matrix_errors(states))
                .square()
                .sum()
            )
            for states in samples
        )
        for probe in (FREE, unweighted)
    }
    assert errors[3] < errors[0]


def test_slopes_of_the_log_variance_are_recovered(samples):
    scores = []
    for states in samples:
        noise = fitted(FREE, states).noise
        x = divided(states)[0].flat().x.double()
        phi = torch.cat([torch.ones_like(x[:, :1]), x], 1)
        error = (2 * torch.linalg.inv(phi.mT @ phi)).diagonal()[1:].sqrt()
        scores.append((noise.weight[1:] / noise.features.std[:, None] - SLOPES) / error[:, None])
    # Fisher's information of a log-linear variance is half the Gram matrix (Harvey 1976)
    assert abs(float(torch.stack(scores).square().mean()) - 1) < 4 * (2 / 72) ** 0.5


def test_held_out_likelihood_falls_short_of_the_truth_by_what_parameters_cost(samples):
    lost = []
    for states in samples:
        law, held = fitted(HeteroscedasticProbe(density="euler"), states), divided(states)[1]
        truth_std = (0.5 * log_variance(held.states)).exp()
        residual = (held.states[:, 1:] - (held.states @ MATRIX.mT)[:, :-1]) / truth_std[:, :-1]
        truth = -0.5 * (residual.square() + math.log(2 * math.pi)).sum(-1)
        truth = truth - truth_std[:, :-1].log().sum(-1)
        found = law.predict(held).log_density(held.states.roll(-1, 1))[:, :-1]
        lost.append(float((truth - found).mean()))
    parameters = 2 * DIM * (DIM + 1)
    transitions = 270 * (LENGTH - 1)
    expected = parameters / 2 / transitions
    assert 0 < sum(lost) / len(lost) < 2 * expected


def test_noise_that_changes_with_time_is_seen_where_the_law_is_discrete():
    states = simulated(1, season=1.0)
    early, late = torch.tensor([0.0, 38.0])
    x = torch.zeros(DIM)
    discrete = fitted(HeteroscedasticProbe(), states)
    ratio = discrete.noise(early, x).variance() / discrete.noise(late, x).variance()
    # e² in truth; a smooth function of time is known at its ends from some 2000 residuals
    assert_close(ratio.log(), torch.full((DIM,), 2.0), rtol=0, atol=0.35)
    law = fitted(HeteroscedasticProbe(density="euler"), states)
    assert torch.equal(law.noise(early, x).variance(), law.noise(late, x).variance())
    assert torch.equal(law.drift(early, x), law.drift(late, x))


@pytest.mark.parametrize("density", HeteroscedasticProbe.densities)
@pytest.mark.parametrize("noise", ["diagonal", "correlated:1", "full"])
def test_two_fits_have_the_same_bytes_and_restore_the_same_law(samples, density, noise):
    states = samples[0][:80]
    probe = HeteroscedasticProbe(density=density, noise=noise)
    one, other = fitted(probe, states), fitted(probe, states)
    assert all(torch.equal(t, other.tensors()[name]) for name, t in one.tensors().items())
    again = probe.restore({"dt": 1.0}, one.tensors())
    past, following = Trajectories.from_states(states, 1.0), states + 0.1
    one, again = one.predict(past), again.predict(past)
    assert torch.equal(one.log_density(following), again.log_density(following))


def test_it_gains_over_its_own_mean_under_constant_noise(samples):
    scores = sdelens.fit(samples[0], probe=HeteroscedasticProbe()).record.scores
    gain = scores["fit"]["nll_per_dim"] - scores["held_out_nll_per_dim"]
    # a quarter of the log variance's own variance, to second order in it (about 0.1)
    expected = float(log_variance(samples[0]).var((0, 1)).mean()) / 4
    assert 0.6 * expected < gain < 1.4 * expected
