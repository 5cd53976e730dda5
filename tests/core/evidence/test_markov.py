"""Memory is found where it is, and nowhere else; so are jumps, mixtures and embeddability."""

import math
from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.estimation import regression
from sdelens.estimation.additive import AdditiveMean
from sdelens.estimation.log_scale import LogScale
from sdelens.estimation.regression import Regression
from sdelens.evidence.gaussianity import DiagonalMixture, gaussian, mixture_gain
from sdelens.evidence.lagged import lagged
from sdelens.evidence.markov import MarkovSplit, memory
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.sde import KernelSDE
from sdelens.paths.products import products_of
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator
from sdelens.testing import discrete_markov, double_well


def kernel(matrix, std):
    """X' = A x + noise."""
    dim = len(matrix)
    blank = torch.empty(0, dtype=torch.long)
    mean = AdditiveMean(matrix, torch.zeros(1), torch.zeros(1, dim), blank, torch.zeros(0, dim))
    return KernelSDE(mean, ConstantNoise.independent(torch.full((dim,), std)))


def autoregression(paths, length, seed, *coefficients, dim=1):
    """X' = a X + b X_before + N(0, 1), after 50 steps."""
    noise = torch.randn(length + 50, paths, dim, generator=generator(seed))
    states = list(noise[:2])
    for kick in noise[2:]:
        states.append(kick + sum(c * states[-k] for k, c in enumerate(coefficients, start=1)))
    return torch.stack(states[50:], dim=1)


def sides(law, states):
    """Three fifths of the paths train, one validates, one is held out."""
    fifth = len(states) // 5
    parts = (states[: 3 * fifth], states[3 * fifth : 4 * fifth], states[4 * fifth :])
    found = [
        lagged(law, Trajectories.from_states(part, 1.0), torch.arange(len(part))) for part in parts
    ]
    return MarkovSplit(*found, groups=3 * fifth)


def test_a_scale_that_turns_on_two_coordinates_at_once_is_no_memory():
    noise = torch.randn(60, 300, 2, generator=generator(3))
    states = [noise[0]]
    for kick in noise[1:]:
        x = states[-1]
        states.append(0.5 * x + 0.5 * (0.5 * x[:, :1] * x[:, 1:]).clamp(-2, 2).exp() * kick)
    _, (by_mean, by_scale) = memory(sides(kernel(0.5 * torch.eye(2), 0.5), torch.stack(states, 1)))
    assert by_scale.absent
    assert by_mean.absent


def test_memory_is_not_ruled_out_where_it_could_not_be_estimated():
    # one more lag is worth -log(1 - 0.2^2) / 2 = 0.020, but 64 coefficients of each of 32
    # coordinates cost 64 / 2N = 0.021 to estimate
    states = autoregression(50, 54, 0, 0.5, 0.2, dim=32)
    _, (by_mean, _) = memory(sides(kernel(0.5 * torch.eye(32), 1.0), states))
    assert by_mean.price == pytest.approx(64 / (2 * 30 * 51), rel=0.01)
    assert not by_mean.absent
    assert by_mean.detectable > 0.02


def test_rows_hold_each_state_with_its_own_past():
    numbers = torch.arange(24.0).reshape(2, 12, 1)
    block = Trajectories.from_states(numbers, 1.0)
    mask = block.mask.clone()
    mask[0, :3], mask[1, 9:] = False, False
    rows = lagged(kernel(torch.eye(1), 0.5), replace(block, mask=mask), torch.tensor([7, 4]))
    # path 0 is observed at times 3 to 11, path 1 at 0 to 8
    assert rows.x[:, 0].tolist() == [5, 6, 7, 8, 9, 10, *range(14, 20)]
    assert torch.equal(rows.before[..., 0], rows.x - torch.tensor([[1.0, 2.0]]))
    assert rows.residual.unique().tolist() == [2.0]  # an increment of 1 by a deviation of 1/2
    assert rows.group.tolist() == [7] * 6 + [4] * 6


def test_too_many_rows_are_thinned_evenly_over_blocks():
    states = torch.arange(40.0).reshape(1, 40, 1)
    one = Trajectories.from_states(states, 1.0)
    law, group = kernel(torch.eye(1), 1.0), torch.zeros(1, dtype=torch.long)
    rows = lagged(law, [one, one], group, most=20)
    # 37 rows a block: every fourth of 74
    assert rows.x[:, 0].tolist() == [*range(2, 39, 4), *range(5, 39, 4)]


def test_paths_of_three_states_have_no_memory_to_ask_for():
    block = Trajectories.from_states(torch.zeros(5, 3, 1), 1.0)
    with pytest.raises(UsageError, match="at least four observations"):
        lagged(kernel(torch.eye(1), 1.0), block, torch.arange(5))


def test_regression_without_a_penalty_is_least_squares_with_its_likelihood():
    random = generator(2)
    f = torch.randn(500, 3, generator=random, dtype=torch.float64)
    y = f @ torch.randn(3, 2, generator=random, dtype=torch.float64)
    y = y + torch.randn(500, 2, generator=random, dtype=torch.float64)
    products = products_of(f, y)
    fitted = Regression.of(products, torch.zeros(3, dtype=torch.float64))
    assert torch.allclose(fitted.coefficients, torch.linalg.lstsq(f, y).solution)
    left = y - f @ fitted.coefficients
    normal = torch.distributions.MultivariateNormal(torch.zeros(2).double(), left.mT @ left / 500)
    assert torch.allclose(fitted.log_density(f, y), normal.log_prob(left), atol=1e-4)
    shift = float(fitted.log_density(f, y).mean()) + fitted.nll(products)
    assert shift == pytest.approx(-math.log(2 * math.pi), abs=1e-9)


def test_validation_prefers_a_penalty_where_features_are_noise():
    random = generator(3)
    train, validation = (
        products_of(torch.randn(60, 40, generator=random), torch.randn(60, 1, generator=random))
        for _ in range(2)
    )
    weak, strong = torch.full((40,), 1e-4).double(), torch.full((40,), 1e3).double()
    assert regression.chosen(train, validation, [weak, strong])[1] is strong


def test_log_scale_recovers_its_coefficients_within_their_information():
    random = generator(4)
    phi = torch.cat([torch.ones(20_000, 1), torch.randn(20_000, 2, generator=random)], dim=1)
    truth = torch.tensor([[0.3, -0.2], [0.5, 0.0], [-0.4, 0.2]])
    white = torch.randn(20_000, 2, generator=random) * (phi @ truth / 2).exp()
    fitted = LogScale.of(phi, white, torch.zeros(3).double())
    # the information is half of the gram
    error = (2 * torch.linalg.inv(phi.double().mT @ phi.double()).diagonal()).sqrt()
    assert ((fitted.coefficients - truth).abs() < 4 * error[:, None]).all()


@pytest.mark.parametrize("dim", [1, 3])
def test_memory_of_the_mean_is_worth_its_partial_correlation(dim):
    law = kernel(0.5 * torch.eye(dim), 1.0)
    first, second = 0.4, 0.2
    _, (mean, scale) = memory(sides(law, autoregression(1000, 40, 5, first, second, dim=dim)))
    # the second partial autocorrelation of an AR(2) is its second coefficient
    assert mean.value == pytest.approx(-0.5 * math.log(1 - second**2), abs=4 * mean.stderr)
    assert mean.shown
    assert scale.absent


def test_a_markov_process_has_no_memory():
    law = kernel(torch.eye(2) * 0.9, 1.0)
    _, (mean, scale) = memory(sides(law, autoregression(600, 40, 6, 0.9, dim=2)))
    assert mean.absent
    assert scale.absent


def test_what_a_linear_law_misses_of_a_nonlinear_drift_is_no_memory():
    states = double_well().simulate(600, 60, seed=7)
    x, following = states[:, :-1].flatten(), states[:, 1:].flatten()
    slope = float((x * following).sum() / x.square().sum())
    law = kernel(torch.tensor([[slope]]), float((following - slope * x).std()))
    _, effects = memory(sides(law, states))
    assert all(effect.absent for effect in effects)


def test_noise_that_remembers_its_size_is_memory_of_the_scale():
    kicks = torch.randn(40, 1000, 1, generator=generator(8))
    noise, states = [kicks[0]], [kicks[0]]
    for kick in kicks[1:]:  # Engle's ARCH(1), and an autoregression driven by it
        noise.append((0.5 + 0.5 * noise[-1].square()).sqrt() * kick)
        states.append(0.8 * states[-1] + noise[-1])
    rows = sides(kernel(torch.tensor([[0.8]]), 1.0), torch.stack(states, dim=1))
    _, (mean, scale) = memory(rows)
    assert scale.shown
    assert not mean.shown


def test_a_mixture_gains_what_the_true_noise_is_better_than_a_gaussian():
    system = discrete_markov()
    states = system.simulate(800, 40, seed=9)
    rows = sides(kernel(torch.tensor([[0.5]]), 1.0), states)
    standard, _ = memory(rows)
    gain = mixture_gain(rows, standard, seed=0)
    x, following = states[:, :-1], states[:, 1:]
    normal = torch.distributions.Normal(0.0, 1.0)
    exact = system.log_density(x, following) - normal.log_prob(following - 0.5 * x)[..., 0]
    assert gain.value == pytest.approx(float(exact.mean()), abs=4 * gain.stderr)
    assert gain.shown


def test_gaussian_noise_of_changing_size_gains_nothing_by_a_mixture():
    x = autoregression(800, 40, 10, 0.5)
    noise = torch.randn(800, 40, 1, generator=generator(11)) * (0.5 * x).exp()
    # each pair of steps begins anew at x: what follows has a scale that x tells
    states = torch.stack([x, x, x, 0.5 * x + noise], dim=2).reshape(-1, 4, 1)
    rows = sides(kernel(torch.tensor([[0.5]]), 1.0), states)
    standard, _ = memory(rows)
    white = standard.white(rows.test)
    tails = white.square().square().mean() / (3 * white.square().mean().square())
    assert float(tails) > 1.5  # before the scale is told, it looks like heavy tails
    assert mixture_gain(rows, standard, seed=0).absent


def test_a_mixture_is_the_sum_of_its_components_and_improves_by_every_sweep():
    random = generator(12)
    x = torch.randn(400, 2, generator=random, dtype=torch.float64)
    x[:200] += 3
    weight, mean = torch.tensor([0.3, 0.7]).double(), torch.randn(2, 2, generator=random).double()
    mixture = DiagonalMixture(weight.log(), mean, torch.tensor([[1.0, 2.0], [0.5, 1.0]]).double())
    normals = torch.distributions.Normal(mean, mixture.variance.sqrt())
    direct = (normals.log_prob(x[:, None]).sum(-1).exp() * weight).sum(-1).log()
    assert torch.allclose(mixture.log_density(x), direct)
    floor, before = gaussian(x).variance * 0.05, -math.inf
    for _ in range(20):
        after = float(mixture.log_density(x).mean())
        assert after >= before - 1e-12
        mixture, before = mixture.improved(x, floor), after
    assert sorted(mixture.log_weight.exp().tolist()) == pytest.approx([0.5, 0.5], abs=0.05)


def test_atoms_cannot_gain_more_than_the_floor_allows():
    x = torch.tensor([-1.0, 1.0]).repeat(200)[:, None]
    mixture = gaussian(x)
    two = DiagonalMixture(
        torch.zeros(2).log_softmax(0), torch.tensor([[-1.0], [1.0]]), mixture.variance.expand(2, 1)
    )
    for _ in range(30):
        two = two.improved(x, 0.05 * mixture.variance)
    assert float(two.variance.min()) == pytest.approx(0.05)
