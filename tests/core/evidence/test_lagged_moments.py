"""The data's lagged moments beside those of a fit, tails by interval, and embeddability."""

import math

import pytest
import torch

from sdelens.errors import BadNumbers, UsageError
from sdelens.estimation.additive import AdditiveMean
from sdelens.evidence.embedding import embeddable, embeddable_share
from sdelens.evidence.jumps import excess, jump_effect, tails
from sdelens.evidence.lagged_moments import LAGS, NAMES, Axes, lagged_moments
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.sde import KernelSDE, LinearSDE
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator
from sdelens.testing import hidden_ornstein_uhlenbeck, ornstein_uhlenbeck


def kernel(matrix, std, offset=0.0):
    """X' = A x + c + noise."""
    dim = len(matrix)
    blank = torch.empty(0, dtype=torch.long)
    shift = torch.full((1, dim), offset)
    mean = AdditiveMean(matrix, torch.zeros(1), shift, blank, torch.zeros(0, dim))
    return KernelSDE(mean, ConstantNoise.independent(torch.full((dim,), std)))


def gaps(law, states, seed=0):
    """Lagged moments of these states beside the law's."""
    block = Trajectories.from_states(states, law.dt)
    documents = torch.arange(len(states))
    return lagged_moments(law, [block], documents, Axes.of(block, 4), trained=10**9, seed=seed)


def test_the_true_law_has_the_lagged_moments_of_its_paths():
    system = ornstein_uhlenbeck(2)
    rate, unit = system.rate.float(), system.unit
    step = torch.linalg.matrix_exp(system.rate * 0.1)
    law = LinearSDE.from_step(step, system.level - step @ system.level, _over_step(system), 0.1)
    law = LinearSDE(**{name: t.float() for name, t in law.tensors().items()}, dt=0.1)
    assert torch.allclose(law.matrix, rate, atol=1e-5)
    assert torch.allclose(law.root @ law.root.mT, unit.float(), atol=1e-5)
    found = [gaps(law, system.simulate(300, 60, seed), seed) for seed in range(10)]
    scores = torch.tensor([[e.value / e.stderr for e in effects] for effects in found])
    assert scores.shape == (10, len(LAGS) * len(NAMES) * 2)
    # lags and coordinates depend on each other: ten runs, of which each is worth about three
    assert float(scores.square().mean()) == pytest.approx(1, abs=4 * math.sqrt(2 / 30))


def _over_step(system):
    """The covariance of one step, from the stationary one: P - e^A P e^A'."""
    eye = torch.eye(2).double()
    sums = torch.kron(system.rate, eye) + torch.kron(eye, system.rate)
    stationary = torch.linalg.solve(sums, -system.unit.flatten()).reshape(2, 2)
    step = torch.linalg.matrix_exp(system.rate * system.dt)
    return stationary - step @ stationary @ step.mT


def test_one_step_is_not_enough_for_what_has_a_hidden_state():
    states = hidden_ornstein_uhlenbeck().simulate(300, 100, seed=1)
    x, following = states[:, :-1].flatten(), states[:, 1:].flatten()
    slope = float((x * following).sum() / x.square().sum())
    law = kernel(torch.tensor([[slope]]), float((following - slope * x).std()))
    assert any(effect.shown for effect in gaps(law, states))


def test_noise_that_is_too_large_shows_in_the_mean_square():
    states = ornstein_uhlenbeck().simulate(300, 60, seed=1)
    keep = math.exp(-0.1)
    wide = kernel(torch.tensor([[keep]]), 1.5 * math.sqrt((1 - keep**2) / 8), 1 - keep)
    shown = {effect.name.partition(" of PC")[0] for effect in gaps(wide, states) if effect.shown}
    assert shown == {"mean of x²"}


def test_a_kernel_that_diverges_is_far_off_and_not_a_missing_number():
    states = ornstein_uhlenbeck().simulate(100, 40, seed=2)
    effects = gaps(kernel(torch.tensor([[1e6]]), 1.0), states)
    assert all(math.isfinite(effect.value) for effect in effects)
    assert any(effect.shown for effect in effects)


def test_lags_longer_than_the_paths_are_left_out():
    law = kernel(torch.tensor([[0.5]]), 1.0)
    short = torch.randn(50, 6, 1, generator=generator(3))
    assert {effect.name.rpartition(" ")[2] for effect in gaps(law, short)} == {"2", "4"}
    assert gaps(law, short[:, :2]) == ()


def test_principal_axes_have_unit_variance_and_come_in_order():
    states = torch.randn(50, 40, 3, generator=generator(4)) * torch.tensor([1.0, 3.0, 0.5]) + 2
    block = Trajectories.from_states(states, 1.0)
    axes = Axes.of(block, 2)
    assert axes.encoder.shape == (3, 2)
    assert axes.encoder[:, 0].abs().argmax() == 1
    z = (states - axes.mean) @ axes.encoder
    assert torch.allclose(z.flatten(0, 1).T.cov(), torch.eye(2), atol=1e-3)


def laplace(paths, length, seed):
    """Increments of excess kurtosis 3."""
    uniform = torch.rand(paths, length, 1, generator=generator(seed)) - 0.5
    return -uniform.sign() * (1 - 2 * uniform.abs()).log()


def test_tails_of_independent_increments_thin_out_with_the_interval():
    block = Trajectories.from_states(laplace(2000, 60, 5).cumsum(1), 1.0)
    sums = tails([block], torch.arange(2000))
    # M4 / 3 M2^2 - 1 is a third of the excess kurtosis, divided by the interval
    assert excess(sums.sum(1)).tolist() == pytest.approx([1, 1 / 2, 1 / 4], abs=0.08)
    effect = jump_effect(sums)
    assert effect.value == pytest.approx(0.5, abs=4 * effect.stderr)
    assert effect.shown


def test_tails_of_a_lasting_scale_do_not_pass_for_jumps():
    random = generator(6)
    scale = torch.randn(2000, 1, 1, generator=random).exp()
    walk = (scale * torch.randn(2000, 60, 1, generator=random)).cumsum(1)
    block = Trajectories.from_states(walk, 1.0)
    sums = tails([block], torch.arange(2000))
    assert float(excess(sums.sum(1))[0]) > 1
    assert not jump_effect(sums).shown


def test_the_error_of_the_tails_is_their_spread_over_replications():
    found = []
    for seed in range(60):
        block = Trajectories.from_states(laplace(100, 40, 100 + seed).cumsum(1), 1.0)
        found.append(jump_effect(tails([block], torch.arange(100))))
    values = torch.tensor([effect.value for effect in found])
    claimed = torch.tensor([effect.stderr for effect in found]).square().mean().sqrt()
    # 60 replications tell a deviation to 9%
    assert float(values.std() / claimed) == pytest.approx(1, abs=0.36)


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_embeddable_is_what_a_linear_sde_can_be_made_of(dim):
    random = generator(7, dim)
    matrix = 0.6 * torch.randn(200, dim, dim, generator=random, dtype=torch.float64) / dim**0.5
    matrix = matrix + 0.3 * torch.eye(dim)
    root = torch.randn(200, dim, dim, generator=random, dtype=torch.float64)
    covariance = root @ root.mT + 0.01 * torch.eye(dim)
    expected = []
    for step, noise in zip(matrix, covariance, strict=True):
        try:
            LinearSDE.from_step(step, torch.zeros(dim).double(), noise, 1.0)
            expected.append(True)
        except BadNumbers:
            expected.append(False)
    assert embeddable(matrix, covariance).tolist() == expected
    assert 5 < sum(expected) < 180


def test_an_alternating_chain_is_no_diffusion_and_a_relaxing_one_is():
    noise = torch.randn(30, 100, 1, generator=generator(8))
    for slope, share in ((-0.5, 0.0), (0.5, 1.0)):
        states = [noise[0]]
        for kick in noise[1:]:
            states.append(slope * states[-1] + kick)
        block = Trajectories.from_states(torch.stack(states, dim=1), 1.0)
        assert embeddable_share(block, torch.arange(100), torch.eye(1), seed=0) == share


def test_a_chain_near_the_edge_is_embeddable_in_a_part_of_the_replicates():
    white = torch.randn(200, 30, 1, generator=generator(9))
    block = Trajectories.from_states(white, 1.0)
    assert 0.01 < embeddable_share(block, torch.arange(200), torch.eye(1), seed=0) < 0.99


def test_a_bootstrap_needs_two_documents():
    block = Trajectories.from_states(torch.randn(1, 30, 1, generator=generator(10)), 1.0)
    with pytest.raises(UsageError, match="at least two documents"):
        embeddable_share(block, torch.zeros(1, dtype=torch.long), torch.eye(1), seed=0)
