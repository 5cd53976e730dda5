"""Reference systems against closed forms, other libraries and identities that hold exactly."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, linalg, stats
from torch.func import hessian, jacrev, vmap

from sdelens.testing import (
    cox_ingersoll_ross,
    diffeomorphic,
    discrete_markov,
    double_well,
    geometric_brownian_motion,
    noisy_lorenz,
    ornstein_uhlenbeck,
    systems,
    van_der_pol,
)
from sdelens.testing.double_well import potential
from sdelens.testing.flow import Flow
from sdelens.testing.fokker_planck import GridKernel

SCALAR = {
    "ornstein-uhlenbeck": (ornstein_uhlenbeck, -1.0, 3.0),
    "geometric": (geometric_brownian_motion, 0.5, 2.0),
    "square root": (cox_ingersoll_ross, 0.05, 3.0),
    "diffeomorphic": (lambda dt=0.1: diffeomorphic(1, dt=dt), -4.0, 4.0),
    "double well": (double_well, -2.8, 2.8),
    "chain": (discrete_markov, -6.0, 6.0),
}
"""Systems of one dimension with a density: how to make them, and where the density lives."""


TIMED = [name for name in SCALAR if name != "chain"]


def column(values):
    return torch.as_tensor(values, dtype=torch.float64).reshape(-1, 1)


def density(system, x, following):
    """p(following | x) for all pairs, [len(x), len(following)]."""
    pairs = torch.broadcast_tensors(x[:, None], following[None])
    return system.log_density(pairs[0][..., None], pairs[1][..., None]).exp()


def grid(name, points=4001):
    _, low, high = SCALAR[name]
    return torch.linspace(low, high, points, dtype=torch.float64)


def starts(system, count, seed=0):
    return system.simulate(count, 2, seed)[:, 0, 0].double()


@pytest.mark.parametrize("name", systems())
def test_paths_repeat_with_their_seed_alone(name):
    system = systems()[name]
    state = torch.random.get_rng_state()
    first, again, other = (system.simulate(3, 4, seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert first.shape == (3, 4, system.dim)
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
    assert not torch.isclose(first[:, 1:], other[:, 1:]).any()
    assert first.isfinite().all()


@pytest.mark.parametrize("name", SCALAR)
def test_densities_integrate_to_one(name):
    system, nodes = SCALAR[name][0](), grid(name)
    mass = torch.trapezoid(density(system, starts(system, 20), nodes), nodes)
    assert (mass - 1).abs().max() < 1e-6


@pytest.mark.parametrize("name", TIMED)
def test_two_steps_compose_to_one_of_twice_the_length(name):
    make, nodes = SCALAR[name][0], grid(name, 1001)
    system, twice = make(), make(dt=2 * make().dt)
    x, z = starts(system, 5), starts(system, 7, seed=1)
    composed = density(system, x, nodes) @ density(system, nodes, z) * (nodes[1] - nodes[0])
    tolerance = 1e-4 if name == "double well" else 1e-6
    torch.testing.assert_close(composed, density(twice, x, z), rtol=tolerance, atol=1e-7)


@pytest.mark.parametrize("name", [name for name in TIMED if name != "double well"])
def test_moments_of_short_steps_are_the_drift_and_the_covariance(name):
    make = SCALAR[name][0]
    x = starts(make(), 9)[:, None]
    truth = make().covariance(x)[:, 0]
    means, variances = [], []
    for dt in (2e-3, 1e-3):
        reach = 9 * (truth * dt).sqrt()
        nodes = x + reach * torch.linspace(-1, 1, 801, dtype=torch.float64)
        following = nodes[..., None]
        p = make(dt=dt).log_density(x[:, None].expand_as(following), following).exp()
        moved = torch.trapezoid(p * (nodes - x), nodes)[:, None]
        means.append(moved / dt)
        variances.append(torch.trapezoid(p * (nodes - x - moved).square(), nodes)[:, None] / dt)
    # what is left after Richardson's step is of second order in dt
    drift, variance = (2 * part[1] - part[0] for part in (means, variances))
    torch.testing.assert_close(drift, make().drift(x), rtol=0, atol=1e-4)
    torch.testing.assert_close(variance, truth, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", SCALAR)
def test_simulated_transitions_have_the_density(name):
    system, nodes = SCALAR[name][0](), grid(name, 401)
    pairs = system.simulate(200, 4, 3)[:, -2:, 0].double()
    p = density(system, pairs[:, 0], nodes)
    below = torch.cat([p[:, :1] * 0, torch.cumulative_trapezoid(p, nodes)], dim=1)
    levels = [np.interp(y, nodes, row) for y, row in zip(pairs[:, 1], below, strict=True)]
    assert stats.kstest(levels, "uniform").pvalue > 1e-3


def test_the_square_roots_law_is_the_noncentral_chi_square_of_cox_ingersoll_and_ross():
    """With half-integer parameters: k = 2, lambda = 2c x e^{-dt}, p(y) = 2c f(2c y)."""
    system = cox_ingersoll_ross(reversion=1.0, level=0.5, volatility=1.0, dt=math.log(2))
    x, y = 0.75, 0.6
    scale, noncentrality = 8.0, 3.0  # 4 / (1 - 1/2), and 8 x / 2
    product = noncentrality * scale * y
    expected = scale / 2 * math.exp(-(scale * y + noncentrality) / 2) * np.i0(math.sqrt(product))
    found = system.log_density(column([x]), column([y])).exp()
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_the_square_root_process_is_stationary():
    system = cox_ingersoll_ross()
    last = system.simulate(20_000, 5, 0)[:, -1, 0]
    variance = system.volatility**2 / 2
    assert abs(float(last.mean()) - 1) < 4 * math.sqrt(variance / 20_000)
    skew = 2 * system.volatility**2 / 2
    error = math.sqrt((2 + 6 * skew) / 20_000)
    assert abs(float(last.var()) / variance - 1) < 4 * error


@pytest.mark.parametrize("dim", [1, 2, 16, 64])
def test_linear_flows_are_the_exponential_and_lyapunovs_equation(dim):
    system = ornstein_uhlenbeck(dim)
    rate, unit = system.rate.numpy(), system.unit.numpy()
    flow, stationary = system.flow, linalg.solve_continuous_lyapunov(rate, -unit)
    matrix = linalg.expm(rate * system.dt)
    assert np.linalg.eigvals(rate).real.max() < -0.3
    np.testing.assert_allclose(flow.matrix, matrix, atol=1e-12)
    np.testing.assert_allclose(flow.stationary(), stationary, atol=1e-12)
    np.testing.assert_allclose(
        flow.covariance, stationary - matrix @ stationary @ matrix.T, atol=1e-12
    )


def test_a_drift_matrix_of_many_dimensions_is_not_normal():
    rate = ornstein_uhlenbeck(16).rate
    assert (rate @ rate.mT - rate.mT @ rate).norm() > 0.1 * rate.norm()


def test_ornstein_uhlenbeck_has_the_normal_law_of_its_own_samples():
    system = ornstein_uhlenbeck(16)
    x, following = system.simulate(4000, 3, 0)[:, 1:].double().unbind(1)
    nats = system.log_density(x, following)
    entropy = 0.5 * (torch.logdet(system.flow.covariance) + 16 * (1 + math.log(2 * math.pi)))
    # 2 log p is minus a chi-square with 16 degrees of freedom, and a constant
    assert abs(float(nats.mean() + entropy)) < 4 * math.sqrt(8 / 4000)


def test_the_diffeomorphic_drift_is_itos_formula():
    system = diffeomorphic(3)
    x = system.simulate(10, 2, 0)[:, 0].double()
    y = system.inverse(x)

    def forward(y):
        return system.rotation @ (system.bend * y).sinh() / system.bend

    torch.testing.assert_close(vmap(forward)(y), x)
    slope, curve = vmap(jacrev(forward))(y), vmap(hessian(forward))(y)
    unit = system.base.unit
    ito = torch.einsum("nij,nj->ni", slope, system.base.drift(y))
    ito += torch.einsum("nijk,jk->ni", curve, unit) / 2
    torch.testing.assert_close(system.drift(x), ito)
    torch.testing.assert_close(system.covariance(x), slope @ unit @ slope.mT)


def test_the_diffeomorphic_density_is_normalised_in_eight_dimensions():
    system = diffeomorphic()
    x, following = system.simulate(20_000, 2, 0).double().unbind(1)
    mean = x + system.drift(x) * system.dt
    root = torch.linalg.cholesky(0.6 * system.covariance(x) * system.dt)
    other = torch.distributions.MultivariateNormal(mean, scale_tril=root)
    # the mean of q/p under p is the mass of q, which is 1 if p is the density of the samples
    ratio = (other.log_prob(following) - system.log_density(x, following)).exp()
    assert abs(float(ratio.mean()) - 1) < 4 * float(ratio.std()) / math.sqrt(20_000)
    assert float(ratio.std()) / math.sqrt(20_000) < 0.05


def test_the_double_wells_kernel_is_converged():
    x, following = double_well().simulate(200, 21, 0).double()[:, -2:, 0].unbind(1)
    finer = GridKernel.of(potential, 0.7, 0.1, reach=3.0, cells=600)
    known = double_well().log_density(x[:, None], following[:, None])
    moved = (known - finer.log_density(x, following)).abs()
    assert moved.mean() < 1e-6
    assert moved.max() < 5e-5


def test_the_double_wells_kernel_is_in_detailed_balance():
    system = double_well()
    x, following = system.simulate(200, 2, 0).double().unbind(1)
    there = system.log_density(x, following) - 2 * potential(x[:, 0]) / 0.49
    back = system.log_density(following, x) - 2 * potential(following[:, 0]) / 0.49
    torch.testing.assert_close(there, back, rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [van_der_pol, noisy_lorenz])
def test_without_noise_a_step_solves_the_differential_equation(make):
    quiet = make(noise=0.0)
    x = make().simulate(5, 2, 0)[:, 0].double()

    def slope(_, y):
        return quiet.drift(torch.as_tensor(y)[None])[0].numpy()

    random = torch.Generator()
    moved = quiet.step(x, quiet.substeps, random)
    for start, end in zip(x, moved, strict=True):
        solved = integrate.solve_ivp(slope, (0, quiet.dt), start, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(end, solved.y[:, -1], atol=2e-5)


@pytest.mark.parametrize("make", [van_der_pol, noisy_lorenz])
def test_a_short_steps_covariance_is_the_diffusion(make):
    system = make(dt=1e-4)
    x = torch.ones(20_000, system.dim, dtype=torch.float64)
    moved = system.step(x, 2, torch.Generator().manual_seed(0))
    covariance = torch.cov(moved.mT) / system.dt
    truth = system.covariance(x[:1])[0].double()
    assert (covariance - truth).abs().max() < 5 * math.sqrt(2 / 20_000) * truth[0, 0]


def test_a_flow_over_no_time_stands_still():
    flow = Flow.of(-torch.eye(2).double(), torch.eye(2).double(), 0.0)
    torch.testing.assert_close(flow.matrix, torch.eye(2).double())
    assert flow.covariance.abs().max() == 0
