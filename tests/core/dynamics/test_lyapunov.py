"""Lyapunov functions, exponents and long runs of systems whose answer is known."""

import math

import pytest
import torch

from sdelens.dynamics.exponents import exponents
from sdelens.dynamics.long_run import LongRun
from sdelens.dynamics.lyapunov import (
    DriftCondition,
    Quadratic,
    lyapunov_matrix,
)
from sdelens.dynamics.region import Region
from sdelens.dynamics.step_map import StepMap
from sdelens.laws.noise_families.low_rank import LowRankScale
from sdelens.laws.scale import DiagonalScale, FullScale, ScaledCorrelation
from sdelens.seeds import generator
from sdelens.testing.double_well import potential
from sdelens.testing.lorenz import noisy_lorenz


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def noisy(mean, std, dt=1.0):
    return StepMap(mean, lambda x: DiagonalScale(torch.full_like(x, std)), dt)


def autoregression(decay):
    """x' = decay x + N(0, 1)."""
    return noisy(lambda x: decay * x, 1.0)


def region(dim):
    return Region.of(normals(1000, dim))


# --- Lyapunov functions


def test_the_lyapunov_matrix_solves_its_equation():
    matrix, root = 0.5 * normals(4, 4), normals(4, 4, seed=1)
    matrix = 0.95 * matrix / torch.linalg.eigvals(matrix).abs().max()
    cost = root @ root.mT
    found = lyapunov_matrix(matrix, cost)
    assert torch.allclose(matrix.mT @ found @ matrix - found, -cost)
    assert torch.linalg.eigvalsh(found).min() > 0


@pytest.mark.parametrize("decay", [1.0, -1.1])
def test_an_unstable_step_has_no_lyapunov_matrix(decay):
    assert lyapunov_matrix(torch.tensor([[decay]]), torch.ones(1, 1)) is None


def scales(states):
    std = 1 + normals(states, 3, seed=4).abs()
    root = normals(3, 3, seed=5).tril()
    return {
        "diagonal": DiagonalScale(std),
        "full": FullScale(root),
        "low rank": LowRankScale(std[0], normals(3, 2, seed=6)),
        "scaled": ScaledCorrelation(std, FullScale(root)),
    }


@pytest.mark.parametrize("kind", ["diagonal", "full", "low rank", "scaled"])
def test_a_weighted_trace_is_that_of_the_covariance(kind):
    scale, root = scales(7)[kind], normals(3, 3, seed=7)
    weight = root @ root.mT
    expected = torch.einsum("ij,...ji->...", weight, scale.covariance())
    assert torch.allclose(scale.trace(weight), expected)


@pytest.mark.parametrize("kind", ["diagonal", "full", "low rank", "scaled"])
def test_a_weighted_gap_is_that_of_the_factors(kind):
    first, root = scales(7)[kind], normals(3, 3, seed=7)
    second = {
        "diagonal": lambda: DiagonalScale(first.std.flip(0)),
        "full": lambda: FullScale(normals(3, 3, seed=8).tril()),
        "low rank": lambda: LowRankScale(first.std.flip(0), first.columns.flip(1)),
        "scaled": lambda: ScaledCorrelation(first.std.flip(0), first.correlation),
    }[kind]()
    weight, gap = root @ root.mT, first.factor() - second.factor()
    expected = torch.einsum("ij,...jk,...ik->...", weight, gap, gap)
    assert torch.allclose(first.gap(second, weight), expected)


def test_kv_is_the_mean_of_v_over_simulated_steps():
    form = Quadratic(
        torch.tensor([0.5, 0.0]).double(), torch.tensor([[2.0, 0.3], [0.3, 1]]).double()
    )
    step = noisy(lambda x: x - 0.2 * x**3, 0.7)
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    drawn = form(step.draw(x.expand(200_000, 2), normals(200_000, 2)))
    error = float(drawn.std()) / 200_000**0.5
    assert abs(float(form.after(step, x)) - float(drawn.mean())) < 4 * error


def test_a_stable_autoregression_keeps_its_drift_condition_and_an_unstable_one_has_none():
    form = Quadratic(torch.zeros(1).double(), torch.ones(1, 1).double())
    seen, shell = 2.3 * normals(500, 1), torch.full((1, 1), 30.0).double()
    stable, unstable = autoregression(-0.9), autoregression(-1.1)
    rule = DriftCondition.of(form(seen), form.after(stable, seen))
    # KV = 0.81 V + 1, and half of that rate is kept
    assert rule.rate == pytest.approx(0.095, rel=1e-6)
    assert rule.broken(form(shell), form.after(stable, shell)) == 0
    rule = DriftCondition.of(form(seen), form.after(unstable, seen))
    assert rule.rate == 0
    assert rule.level == math.inf
    assert rule.broken(form(shell), form.after(unstable, shell)) == 1


def test_the_generator_calls_an_unstable_kernel_stable():
    form = Quadratic(torch.zeros(1).double(), torch.ones(1, 1).double())
    x = torch.full((1, 1), 10.0).double()
    step = autoregression(-1.1)
    assert form.generator(step, x) == pytest.approx(-2 * 2.1 * 100 + 1)
    assert form.after(step, x) > form(x)


def test_shared_noise_that_is_the_same_everywhere_cancels():
    form = Quadratic(torch.zeros(2).double(), torch.eye(2).double())
    x, y = normals(9, 2), normals(9, 2, seed=1)
    after, before = form.contraction(autoregression(-0.9), x, y)
    assert torch.allclose(after / before, torch.full((9,), 0.81).double())
    growing = StepMap(lambda x: 0.9 * x, lambda x: DiagonalScale(0.5 * x))
    after, before = form.contraction(growing, x, y)
    assert torch.allclose(after / before, torch.full((9,), 0.81 + 0.25).double())


# --- exponents


@pytest.mark.parametrize("decay", [-0.9, -1.1])
def test_the_exponent_of_an_autoregression_is_the_logarithm_of_its_decay(decay):
    found = exponents(autoregression(decay), normals(4, 1), region(1), count=1, steps=100, seed=0)
    assert float(found.value) == pytest.approx(math.log(abs(decay)), rel=1e-6)


def test_henons_map_has_its_known_exponents():
    def henon(x):
        a, b = x.unbind(-1)
        return torch.stack([1 - 1.4 * a**2 + b, 0.3 * a], dim=-1)

    starts = 0.1 * normals(64, 2)
    found = exponents(noisy(henon, 0.0), starts, region(2), count=2, steps=450, seed=0)
    assert abs(float(found.value[0]) - 0.419) < 4 * float(found.stderr[0]) + 5e-4
    assert float(found.stderr[0]) < 0.01
    # the determinant of the Jacobian is -0.3 everywhere
    assert found.total == pytest.approx(math.log(0.3), rel=1e-9)


def test_lorenz_has_its_known_leading_exponent():
    system = noisy_lorenz(noise=0.0)
    step = StepMap.flow(
        system.drift, lambda x: DiagonalScale(torch.zeros_like(x)), system.dt, substeps=1
    )
    starts = torch.tensor([1.0, 1.0, 25.0]).double() + normals(500, 3)
    for _ in range(1200):  # to the attractor, until the starts have forgotten each other
        starts = step.mean(starts)
    wide = Region.of(10 * normals(500, 3))
    found = exponents(step, starts, wide, count=1, steps=300, seed=0)
    # batches of 0.3 units of one path depend a little on each other
    assert abs(float(found.value) - 0.906) < 6 * float(found.stderr)
    assert float(found.stderr) < 0.06


def test_geometric_brownian_motion_grows_by_its_mean_logarithm():
    growth, volatility, dt = 0.1, 0.3, 0.01
    step = StepMap.flow(
        lambda x: growth * x, lambda x: DiagonalScale(volatility * x), dt, substeps=1
    )
    found = exponents(step, torch.ones(128, 1).double(), region(1), count=1, steps=150, seed=0)
    # the bias of one Euler step of the noise is of order volatility^2 growth dt
    expected = growth - volatility**2 / 2
    assert abs(float(found.value) - expected) < 4 * float(found.stderr) + 1e-3
    assert float(found.stderr) < 0.04


def test_paths_of_the_double_well_meet_at_the_mean_slope_of_its_drift():
    noise, dt = 0.7, 0.02
    step = StepMap.flow(
        lambda x: x - x**3, lambda x: DiagonalScale(torch.full_like(x, noise)), dt, substeps=1
    )
    nodes = torch.linspace(-4, 4, 4001, dtype=torch.float64)
    weight = (-2 * potential(nodes) / noise**2).softmax(0)
    expected = float((weight * (1 - 3 * nodes**2)).sum())
    drawn = nodes[torch.multinomial(weight, 512, replacement=True, generator=generator(0))]
    found = exponents(step, drawn[:, None], region(1), count=1, steps=200, seed=0)
    # the splitting moves the stationary law by order dt: a hundredth of the exponent
    assert abs(float(found.value) - expected) < 5 * float(found.stderr) + 0.02 * abs(expected)


def test_paths_that_escape_are_put_back_and_counted():
    found = exponents(autoregression(2.0), normals(4, 1), region(1), count=1, steps=200, seed=0)
    assert found.restarted > 0
    assert float(found.value) == pytest.approx(math.log(2), rel=1e-6)


# --- long runs


def test_a_stable_autoregression_stays_and_an_unstable_one_escapes():
    starts = normals(8, 1)
    stays = LongRun.of(autoregression(-0.9), starts, region(1), steps=2000, seed=0)
    assert stays.escaped == 0
    # the stationary deviation is 2.29; 16,000 states reach at most about 5 of them
    assert stays.furthest * region(1).radius < 6 * 2.3
    leaves = LongRun.of(autoregression(-1.1), starts, region(1), steps=2000, seed=0)
    assert leaves.escaped == 8
    # from about 1 to a thousand radii of 2.6 at a tenth a step
    assert leaves.steps < 200
    assert math.isnan(leaves.furthest)
    assert len(leaves.later()) == 0
