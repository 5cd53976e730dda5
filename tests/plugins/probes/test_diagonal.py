from functools import partial

import pytest
import torch
from torch.testing import assert_close

import sdelens
from sdelens.errors import BadNumbers, UnknownName
from sdelens.estimation.selection import SHRINKAGES
from sdelens.paths.trajectories import Trajectories
from sdelens_plugins.probes.diagonal import DiagonalProbe
from tests.plugins.probes import division

DT = 0.2

fitted = partial(division.fitted, dt=DT, one_in=6)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def autoregressions(slope, paths=120, length=60, seed=0):
    """Stationary AR(1) coordinates of unit variance."""
    x = randn(paths, len(slope), seed=seed)
    states = [x]
    for step in range(1, length):
        noise = randn(paths, len(slope), seed=1000 * seed + step)
        x = slope * x + (1 - slope**2).sqrt() * noise
        states.append(x)
    return torch.stack(states, 1)


def test_rates_and_diffusions_are_recovered_with_the_errors_of_the_efficient_bound():
    slope = torch.linspace(0.5, 0.95, 300)
    law = fitted(DiagonalProbe(density="exact", ridge=0.0), autoregressions(slope))
    count = 100 * 59
    rate, found = -slope.log() / DT, -law.matrix.diagonal()
    # Var a = (1 - a²)/N, and the rate is -log a / dt
    scores = (found - rate) / ((1 - slope**2).sqrt() / count**0.5 / (slope * DT))
    # 300 independent scores: their squares' mean has deviation sqrt(2/300) = 0.082
    assert abs(float(scores.square().mean()) - 1) < 4 * 0.082
    covered = (scores.abs() < 1.645).float().mean()
    assert abs(float(covered) - 0.9) < 4 * (0.9 * 0.1 / 300) ** 0.5
    # unit variance of the state means a diffusion of 2 rates; Var log S = 2/N, Var rate as above
    level = law.root.square().sum(-1) / (2 * rate)
    assert abs(float(level.mean()) - 1) < 4 * (2 / count / 300) ** 0.5 * 2
    assert torch.equal(law.matrix, law.matrix.diagonal().diag())


def test_intercepts_belong_to_positions_where_the_law_is_discrete():
    states = autoregressions(torch.tensor([0.8, 0.3]), paths=600, length=12)
    moves = torch.stack([torch.arange(12.0), -0.5 * torch.arange(12.0)], 1)
    law = fitted(DiagonalProbe(), states + moves)
    # x' - m' = a (x - m) + noise: the intercept is m' - a m
    slope = law.mean.matrix.diagonal()
    truth = moves[1:] - torch.tensor([0.8, 0.3]) * moves[:-1]
    spread = (1 - torch.tensor([0.8, 0.3]) ** 2).sqrt()
    # a mean of 500 residuals, beside m times the error of a
    error = spread * (1 / 500 + moves[:-1].square() / 500 / 11) ** 0.5
    assert ((law.mean.by_time - truth).abs() < 5 * error + SHRINKAGES[0] / 500).all()
    assert_close(slope, torch.tensor([0.8, 0.3]), rtol=0, atol=4 / (500 * 11) ** 0.5)


def test_a_ridge_divides_the_coefficients_of_least_squares():
    states = autoregressions(torch.tensor([0.3, 0.9]), paths=30, length=8)
    settings = {"density": "exact"}
    free, strong = (
        fitted(DiagonalProbe(ridge=ridge, **settings), states).step_matrix.diagonal()
        for ridge in (0.0, 1.0)
    )
    assert_close(strong, free / 2)


def test_noise_may_be_correlated_between_coordinates_that_do_not_interact():
    mixing = torch.linalg.cholesky(torch.tensor([[1.0, 0.6], [0.6, 1.0]]))
    states = [randn(200, 2)]
    for step in range(1, 60):
        states.append(0.7 * states[-1] + randn(200, 2, seed=step) @ mixing.mT)
    law = fitted(DiagonalProbe(density="exact", noise="full"), torch.stack(states, 1))
    covariance = law.step_root @ law.step_root.mT
    # Var S_ij = (S_ii S_jj + S_ij²)/N
    assert abs(float(covariance[0, 1]) - 0.6) < 4 * (1.36 / 166 / 59) ** 0.5


def test_a_coordinate_that_jumps_back_and_forth_has_no_exact_law():
    states = autoregressions(torch.tensor([0.8, -0.5]))
    with pytest.raises(BadNumbers, match=r"coordinate 1 has -0\.\d+ .*density=discrete"):
        fitted(DiagonalProbe(density="exact"), states)
    assert float(fitted(DiagonalProbe(), states).mean.matrix[1, 1]) < 0


def test_a_noise_that_is_none_is_an_error():
    with pytest.raises(UnknownName, match="Did you mean 'diagonal'"):
        DiagonalProbe(noise="diagonals")


@pytest.mark.parametrize("density", DiagonalProbe.densities)
@pytest.mark.parametrize("noise", ["diagonal", "correlated:1", "full"])
def test_two_fits_have_the_same_bytes_and_restore_the_same_law(density, noise):
    states = autoregressions(torch.tensor([0.9, 0.8, 0.5]), paths=60, length=20)
    probe = DiagonalProbe(density=density, noise=noise)
    one, other = fitted(probe, states), fitted(probe, states)
    assert all(torch.equal(t, other.tensors()[name]) for name, t in one.tensors().items())
    again = probe.restore({"dt": DT}, one.tensors())
    past, following = Trajectories.from_states(states, DT), states + 0.1
    one, again = one.predict(past), again.predict(past)
    assert torch.equal(one.log_density(following), again.log_density(following))


def test_it_is_a_probe_of_the_public_interface():
    states = autoregressions(torch.tensor([0.9, 0.5]))
    fitted = sdelens.fit(states, dt=DT, probe=DiagonalProbe(density="exact"))
    drift = fitted.drift(0.0, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    origin = fitted.drift(0.0, torch.zeros(2))
    # in the data's own coordinates, where the basis has standardised each by itself
    assert_close((drift - origin)[0, 1], torch.tensor(0.0), rtol=0, atol=1e-5)
