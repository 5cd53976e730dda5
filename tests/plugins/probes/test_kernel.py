from functools import partial

import pytest
import torch
from torch.testing import assert_close

import sdelens
from sdelens.errors import UsageError
from sdelens.laws.resolution import StepTooLong
from sdelens.paths.trajectories import Trajectories
from sdelens_plugins.probes.kernel.probe import KernelProbe
from tests.plugins.probes import division

DT = 0.1
POINTS = torch.linspace(-1.2, 1.2, 5)[:, None]

fitted = partial(division.fitted, dt=DT)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def well(seed, paths=200, length=60):
    """Euler's own chain of dX = (X - X³) dt + 0.7 dW, whose moments are known without error."""
    x = 0.8 * randn(paths, 1, seed=seed)
    states = []
    for step in range(length + 50):
        x = x + (x - x**3) * DT + 0.7 * DT**0.5 * randn(paths, 1, seed=10_000 * seed + step)
        states.append(x)
    return torch.stack(states[50:], 1)


@pytest.fixture(scope="module")
def wells():
    return [fitted(KernelProbe(density="euler"), well(seed)) for seed in range(1, 31)]


def test_error_bars_of_the_drift_of_a_double_well_cover(wells):
    t, truth = torch.zeros(5), POINTS - POINTS**3
    scores = torch.stack([(w.drift(t, POINTS) - truth) / w.drift_error(t, POINTS) for w in wells])
    covered = float((scores.abs() < 1.645).float().mean())
    # 150 scores, 0.6 apart where a bandwidth is about 0.2
    assert abs(covered - 0.9) < 4 * (0.9 * 0.1 / 150) ** 0.5


def test_error_bars_of_the_diffusion_of_a_double_well_cover(wells):
    t = torch.zeros(5)
    scores = torch.stack(
        [
            (w.diffusion(t, POINTS).covariance() - 0.49) / w.covariance_error(t, POINTS)
            for w in wells
        ]
    )
    covered = float((scores.abs() < 1.645).float().mean())
    assert abs(covered - 0.9) < 4 * (0.9 * 0.1 / 150) ** 0.5


def test_the_drift_of_a_double_well_is_found_far_better_than_by_a_line(wells):
    states = well(99)
    x = states[::4, ::10].reshape(-1, 1)
    truth = x - x**3
    lost = [
        float((w.drift(torch.zeros(len(x)), x) - truth).square().mean() / truth.square().mean())
        for w in wells
    ]
    assert sum(lost) / len(lost) < 0.04
    linear = sdelens.fit(states, dt=DT, probe="linear", density="discrete", basis="raw").law
    line = (linear.drift(torch.zeros(len(x)), x) - truth).square().mean() / truth.square().mean()
    assert float(line) > 0.5


def test_far_from_the_data_the_law_pulls_back_with_the_noise_of_the_edge(wells):
    far = torch.tensor([[20.0], [-20.0]])
    for law in wells:
        drift = law.drift(torch.zeros(2), far)[:, 0]
        assert drift[0] < -1
        assert drift[1] > 1
        spread = law.diffusion(torch.zeros(2), far).covariance()
        assert (spread > 0.49 / 8).all()
        assert (spread < 0.49 * 8).all()
    x = far
    for step in range(400):
        x = wells[0].transition(torch.zeros(2), x).sample(step)
    assert x.abs().max() < 4


def test_rotation_and_correlated_state_dependent_noise_are_found_in_two_dimensions():
    def drift(x):
        return torch.stack([-x[..., 0] + x[..., 1] ** 2, -x[..., 1]], -1)

    def root(x):
        low = torch.zeros(*x.shape, 2)
        low[..., 0, 0] = 0.6 + 0.3 * torch.tanh(x[..., 1])
        low[..., 1, 0], low[..., 1, 1] = 0.3, 0.5
        return low

    x, states = randn(300, 2), []
    for step in range(110):
        noise = torch.einsum("pij,pj->pi", root(x), randn(300, 2, seed=step + 1))
        x = x + drift(x) * DT + DT**0.5 * noise
        states.append(x)
    law = fitted(KernelProbe(density="euler"), torch.stack(states[30:], 1))
    at = torch.cartesian_prod(torch.tensor([-0.3, 0.0, 0.3]), torch.tensor([-0.4, 0.0, 0.4]))
    t = torch.zeros(len(at))
    scores = (law.drift(t, at) - drift(at)) / law.drift_error(t, at)
    truth = root(at) @ root(at).mT
    spread = (law.diffusion(t, at).covariance() - truth) / law.covariance_error(t, at)
    # neighbours share data: perhaps 6 independent scores of each kind, whose squares' mean has
    # deviation 0.6
    assert float(scores.square().mean()) < 1 + 4 * 0.6
    assert float(spread.square().mean()) < 1 + 4 * 0.6
    assert (law.covariance_error(t, at) < 0.1).all()


def test_position_matters_only_where_the_law_is_discrete():
    states = well(1) + torch.arange(60.0)[:, None] * 0.05
    discrete = fitted(KernelProbe(), states)
    x = torch.full((2, 1), 1.5)
    early_late = discrete.drift(torch.tensor([0.0, 5.8]), x)
    assert early_late[0] < early_late[1]  # to stay at 1.5 is to fall behind the moving wells
    still = fitted(KernelProbe(density="euler"), states)
    assert_close(*still.drift(torch.tensor([0.0, 5.8]), x))


def test_more_than_three_dimensions_are_refused():
    with pytest.raises(
        UsageError, match="up to 3 dimensions, got 4: use a basis of few directions"
    ):
        fitted(KernelProbe(), randn(20, 5, 4))


def test_a_bandwidth_must_be_positive():
    with pytest.raises(UsageError, match="bandwidth must be above 0, got 0"):
        KernelProbe(bandwidth=0.0)


@pytest.mark.parametrize(("density", "dim"), [("discrete", 1), ("euler", 2), ("discrete", 3)])
def test_two_fits_have_the_same_bytes_and_restore_the_same_law(density, dim):
    states = (0.5 * randn(30, 12, dim)).cumsum(1)
    probe = KernelProbe(density=density, bandwidth=0.8)
    one, other = fitted(probe, states), fitted(probe, states)
    tensors = one.tensors()
    assert all(torch.equal(t, other.tensors()[name]) for name, t in tensors.items())
    assert all(t.isfinite().all() for t in tensors.values())
    again = probe.restore({"dt": DT}, tensors)
    past, following = Trajectories.from_states(states, DT), states + 0.1
    first, second = one.predict(past), again.predict(past)
    assert torch.equal(first.log_density(following), second.log_density(following))
    t, x = torch.zeros(30), states[:, 0]
    assert torch.equal(one.drift_error(t, x), again.drift_error(t, x))
    assert torch.equal(one.covariance_error(t, x), again.covariance_error(t, x))


def test_it_is_a_probe_of_the_public_interface():
    with pytest.warns(StepTooLong, match=r"use --density kessler"):
        scores = sdelens.fit(well(5), dt=DT, probe=KernelProbe(density="euler")).record.scores
    row = scores["baselines"]["linear"]
    assert row["gain_of_fit"] > 0
    assert scores["fit"]["increment_r2"] > row["increment_r2"]
