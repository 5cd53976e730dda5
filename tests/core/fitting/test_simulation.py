import warnings
from itertools import pairwise

import pytest
import torch
import torchsde
from torch.testing import assert_close

import sdelens
from sdelens.errors import UsageError
from sdelens.estimation.additive import AdditiveMean
from sdelens.fitting.fitted import Fitted, Record
from sdelens.fitting.simulation import brownian_interval, simulate, step_times
from sdelens.laws.law import Noise
from sdelens.laws.noise_families.low_rank import LowRankScale
from sdelens.laws.scale import DiagonalScale, ScaledCorrelation
from sdelens.laws.sde import KernelSDE, LinearSDE
from sdelens.paths.basis import Basis
from sdelens.seeds import derive

DIM = 3


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Breathing(Noise):
    """A scale that depends on time and state, around a correlation if there is one."""

    def __init__(self, correlation=None, size=0.1):
        self.correlation, self.size = correlation, size

    def __call__(self, t, x):
        std = self.size * (1 + 0.1 * t[..., None].sin() + x.square() / (1 + x.square()))
        return ScaledCorrelation(std, self.correlation) if self.correlation else DiagonalScale(std)

    def tensors(self):
        return {}


class Steady(Noise):
    """A constant deviation."""

    def __init__(self, std):
        self.std = std

    def __call__(self, t, x):
        del t
        return DiagonalScale(torch.full_like(x, self.std))

    def tensors(self):
        return {}


def mean_of(matrix, by_time=None):
    dim = len(matrix)
    return AdditiveMean(
        matrix=matrix,
        times=torch.zeros(1),
        by_time=torch.zeros(1, dim) if by_time is None else by_time,
        known=torch.empty(0, dtype=torch.long),
        by_token=torch.zeros(0, dim),
    )


def basis_of(dim, shift=0.0, scale=1.0):
    """States are `scale` times the latent coordinates, plus `shift`."""
    return Basis(
        times=torch.zeros(1),
        means=torch.full((1, dim), shift),
        encoder=torch.eye(dim) / scale,
        decoder=torch.eye(dim) * scale,
        spread=torch.ones(dim),
        explained=torch.tensor(1.0),
        left_encoder=torch.zeros(dim, 0),
        left_decoder=torch.zeros(0, dim),
        dropped=0,
    )


def fitted_of(law, basis=None):
    basis = basis or basis_of(DIM)
    return Fitted(law, basis, Record("neural", {}, law.density, law.dt, 0))


def kernel(dt, correlated):
    correlation = LowRankScale(torch.ones(DIM), randn(DIM, 2, seed=2)) if correlated else None
    mean = mean_of(0.9 * torch.eye(DIM) + 0.05 * randn(DIM, DIM), randn(1, DIM, seed=1))
    return KernelSDE(mean, Breathing(correlation), dt=dt, diagonal=not correlated)


class Counted:
    """The SDE with its drift's evaluations counted, as torchsde sees it."""

    def __init__(self, sde):
        self.sde, self.noise_type, self.sde_type = sde, sde.noise_type, sde.sde_type
        self.times = []

    def f(self, t, y):
        self.times.append(float(t))
        return self.sde.f(t, y)

    def g(self, t, y):
        return self.sde.g(t, y)

    def g_prod(self, t, y, v):
        return self.sde.g_prod(t, y, v)


STEPS = 120
CASES = [(dt, flag) for dt in (1.0, 0.05, 1 / 3) for flag in (False, True)]


@pytest.mark.parametrize(("dt", "correlated"), CASES)
def test_torchsde_reproduces_a_simulation_and_takes_no_stray_step(dt, correlated):
    sde, start = kernel(dt, correlated), randn(4, DIM, seed=5)
    simulated = simulate(fitted_of(sde), start, steps=STEPS, t=2.0, seed=3)
    times = step_times(2.0, dt, STEPS)
    motion = torchsde.BrownianInterval(
        t0=float(times[0]),
        t1=float(times[-1]),
        size=(4, DIM + 2 if correlated else DIM),
        entropy=derive(3, "brownian"),
    )
    counted = Counted(sde)
    paths = torchsde.sdeint(counted, start, times, bm=motion, method="euler", dt=sde.dt)
    assert torch.equal(paths, simulated)
    # one evaluation is torchsde's check of shapes
    assert counted.times[1:] == times[:-1].tolist()


@pytest.mark.parametrize(("dt", "correlated"), CASES)
def test_a_simulation_is_euler_and_maruyamas_loop_over_the_same_increments(dt, correlated):
    sde, start = kernel(dt, correlated), randn(4, DIM, seed=5)
    simulated = simulate(fitted_of(sde), start, steps=STEPS, t=2.0, seed=3)
    times = step_times(2.0, dt, STEPS)
    motion = brownian_interval(sde, start, times, seed=3)
    x = start
    for step, (now, then) in enumerate(pairwise(times), start=1):
        t = now.float().expand(4)
        x = x + dt * sde.drift(t, x) + sde.diffusion(t, x).apply(motion(now, then))
        assert_close(simulated[step], x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dt", [1.0, 0.05])
def test_one_step_of_a_discrete_kernel_is_its_transition(dt):
    draws = 20_000
    sde = kernel(dt, correlated=True)
    x = torch.tensor([1.0, -2.0, 0.5])
    last = simulate(fitted_of(sde), x.expand(draws, DIM), steps=1)[-1]
    law = sde.transition(torch.tensor(0.0), x)
    wanted = law.scale.covariance()
    variance = wanted.diagonal()
    assert ((last.mean(0) - law.mean) / (variance / draws).sqrt()).abs().max() < 4
    stderr = ((variance[:, None] * variance + wanted.square()) / draws).sqrt()
    assert ((last.mT.cov() - wanted) / stderr).abs().max() < 4


def test_an_autoregression_reaches_its_stationary_variance():
    draws = 4000
    sde = KernelSDE(mean_of(0.8 * torch.eye(1)), Steady(0.3), dt=0.05)
    last = simulate(fitted_of(sde, basis_of(1)), torch.zeros(draws, 1), steps=40)[-1]
    stationary = 0.3**2 / (1 - 0.8**2)
    # 0.8^80 of it is missing after 40 steps: 2e-8
    assert abs(float(last.var()) / stationary - 1) < 4 * (2 / draws) ** 0.5


def test_an_exact_law_is_drawn_from_its_transition_without_discretisation():
    # over a step of length 2, at rate 1, Euler's method would turn every state into its opposite
    rate, dt, draws = 1.0, 2.0, 20_000
    step = torch.exp(torch.tensor([[-rate * dt]]))
    noise = (1 - step.square()) / (2 * rate)
    sde = LinearSDE.from_step(step, torch.zeros(1), noise, dt)
    paths = simulate(fitted_of(sde, basis_of(1)), torch.full((draws, 1), 3.0), steps=2)
    assert paths.shape == (3, draws, 1)
    variance = float(1 - step**4) / 2
    assert abs(float(paths[2].mean() - 3 * step**2)) < 4 * (variance / draws) ** 0.5
    assert abs(float(paths[2].var()) / variance - 1) < 4 * (2 / draws) ** 0.5
    # successive steps have noises of their own
    noises = torch.cat([paths[1] - step * paths[0], paths[2] - step * paths[1]], 1)
    assert abs(float(noises.mT.corrcoef()[0, 1])) < 4 * draws**-0.5


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_paths_keep_the_shape_of_their_batch_and_begin_at_the_start(batch):
    start = randn(*batch, DIM)
    paths = simulate(fitted_of(kernel(1.0, correlated=True)), start, steps=5)
    assert paths.shape == (6, *batch, DIM)
    assert torch.equal(paths[0], start)
    flat = simulate(fitted_of(kernel(1.0, correlated=True)), start.reshape(-1, DIM), steps=5)
    assert torch.equal(paths.reshape(flat.shape), flat)


def test_states_are_simulated_in_the_datas_coordinates():
    sde, start = kernel(0.5, correlated=False), randn(4, DIM)
    latent = simulate(fitted_of(sde), start, steps=5)
    states = simulate(fitted_of(sde, basis_of(DIM, 10.0, 4.0)), 4 * start + 10, steps=5)
    assert_close(states, 4 * latent + 10, rtol=1e-4, atol=1e-4)


def test_the_seed_fixes_the_paths_and_global_random_states_are_left_alone():
    fitted, start = fitted_of(kernel(1.0, correlated=False)), randn(4, DIM)
    before = torch.get_rng_state()
    first, again, other = (simulate(fitted, start, steps=5, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, again)
    assert not torch.equal(first[1], other[1])


def test_a_simulation_warns_of_nothing_and_needs_no_gradient():
    fitted, start = fitted_of(kernel(0.1, correlated=False)), randn(4, DIM).requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not simulate(fitted, start, steps=120).requires_grad


def test_double_precision_states_are_taken():
    fitted = fitted_of(kernel(0.1, correlated=False))
    start = randn(4, DIM)
    assert torch.equal(simulate(fitted, start.double(), steps=3), simulate(fitted, start, steps=3))


def test_no_steps_are_an_error():
    with pytest.raises(UsageError, match="at least 1, got 0"):
        simulate(fitted_of(kernel(1.0, correlated=False)), torch.zeros(DIM), steps=0)


def test_the_package_gives_the_function_however_often_it_is_asked():
    # a module of the same name would take its place once it is imported
    assert sdelens.simulate is simulate
    assert sdelens.simulate is simulate
