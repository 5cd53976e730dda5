import pytest
import torch
from torch.testing import assert_close

import sdelens
from sdelens.errors import UsageError
from sdelens.paths.trajectories import Trajectories
from sdelens_plugins.probes.low_rank.probe import LowRankProbe
from tests.plugins.probes.division import divided, fitted

DIM, RANK, LENGTH = 16, 2, 40


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


OWN = torch.linspace(0.5, 0.85, DIM)
LEFT = torch.linalg.qr(randn(DIM, RANK, seed=2)).Q
RIGHT = torch.linalg.qr(randn(DIM, RANK, seed=3)).Q
MATRIX = OWN.diag() + 0.3 * LEFT @ RIGHT.mT
ROOT = torch.eye(DIM) + 0.3 * randn(DIM, DIM, seed=4) / DIM**0.5


def simulated(seed, paths=300):
    x = randn(paths, DIM, seed=seed)
    states = []
    for step in range(LENGTH + 40):
        x = x @ MATRIX.mT + randn(paths, DIM, seed=10_000 * seed + step) @ ROOT.mT
        states.append(x)
    return torch.stack(states[40:], 1)


def error(matrix, states):
    """The summed squared error of the means, weighted by the noise: chi-square if efficient."""
    x = divided(states)[0].flat().x.double()
    x = x - x.mean(0)
    weight = torch.cholesky_inverse(ROOT.double())
    wrong = matrix.double() - MATRIX
    return float((weight * (wrong @ (x.mT @ x) @ wrong.mT)).sum())


@pytest.fixture(scope="module")
def samples():
    return [simulated(seed) for seed in range(1, 6)]


def test_the_rank_is_recovered(samples):
    laws = [fitted(LowRankProbe(noise="full"), states) for states in samples]
    assert [law.mean.rank for law in laws] == [RANK] * len(samples)


def test_its_error_is_that_of_the_parameters_that_it_has(samples):
    free = DIM + RANK * (2 * DIM - RANK)
    probe = LowRankProbe(noise="full", rank=RANK, ridge=1e-6)
    errors = [error(fitted(probe, states).mean.dense().matrix, states) for states in samples]
    mean = sum(errors) / len(errors)
    # chi-square with as many degrees of freedom as parameters, not with DIM² = 256
    assert abs(mean - free) < 4 * (2 * free / len(errors)) ** 0.5


def test_noise_that_is_known_to_be_correlated_helps(samples):
    losses = {
        noise: sum(
            error(fitted(LowRankProbe(noise=noise, rank=RANK), states).mean.dense().matrix, states)
            for states in samples
        )
        for noise in ("diagonal", "full")
    }
    assert losses["full"] < losses["diagonal"]


def test_a_scalar_base_is_one_coefficient(samples):
    law = fitted(LowRankProbe(base="scalar", rank=1), samples[0])
    assert law.mean.diagonal.unique().numel() == 1
    assert float(OWN.min()) < float(law.mean.diagonal[0]) < 0.95


def test_the_exact_density_is_the_linear_sde_of_that_matrix(samples):
    law = fitted(LowRankProbe(density="exact", rank=RANK), samples[0])
    assert_close(torch.linalg.matrix_exp(law.matrix), law.step_matrix, rtol=0, atol=1e-4)
    assert error(law.step_matrix, samples[0]) < 2 * (DIM + RANK * (2 * DIM - RANK))


@pytest.mark.parametrize("rank", [0, 1, 99])
def test_the_rank_that_was_asked_for_is_kept(samples, rank):
    law = fitted(LowRankProbe(rank=rank), samples[0][:60])
    assert law.mean.rank == min(rank, DIM)


def test_a_negative_rank_is_an_error():
    with pytest.raises(UsageError, match="rank must be 0 or more, got -1"):
        LowRankProbe(rank=-1)


def test_one_dimension_has_nothing_to_interact_with():
    law = fitted(LowRankProbe(), simulated(1, paths=40)[..., :1])
    assert law.mean.rank == 0


@pytest.mark.parametrize("density", LowRankProbe.densities)
@pytest.mark.parametrize("noise", ["diagonal", "correlated:2"])
def test_two_fits_have_the_same_bytes_and_restore_the_same_law(samples, density, noise):
    states = samples[0][:80]
    probe = LowRankProbe(density=density, noise=noise)
    one, other = fitted(probe, states), fitted(probe, states)
    assert all(torch.equal(t, other.tensors()[name]) for name, t in one.tensors().items())
    again = probe.restore({"dt": 1.0}, one.tensors())
    past, following = Trajectories.from_states(states, 1.0), states + 0.1
    one, again = one.predict(past), again.predict(past)
    assert torch.equal(one.log_density(following), again.log_density(following))


def test_it_is_a_probe_of_the_public_interface(samples):
    scores = sdelens.fit(samples[0], probe=LowRankProbe(noise="full")).record.scores
    row = scores["baselines"]["iid_position"]
    assert row["gain_of_fit"] > 4 * row["gain_of_fit_stderr"]
