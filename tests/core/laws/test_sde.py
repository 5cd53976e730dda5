import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from torch.testing import assert_close

from sdelens.errors import BadNumbers
from sdelens.estimation.additive import AdditiveMean
from sdelens.laws.coefficient_sde import CoefficientSDE
from sdelens.laws.law import Noise
from sdelens.laws.matrices import eigenbasis, integral_of_exponential, real_logarithm
from sdelens.laws.noise_families.low_rank import LowRankScale
from sdelens.laws.scale import DiagonalScale, ScaledCorrelation
from sdelens.laws.sde import KernelSDE, LinearSDE
from sdelens.paths.trajectories import Trajectories

DIM = 3


def randn(*shape, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random, dtype=torch.float64)


class Breathing(Noise):
    """A standard deviation of 1 + t + x^2, around a correlation if there is one."""

    def __init__(self, correlation=None):
        self.correlation = correlation

    def __call__(self, t, x):
        std = 1 + t[..., None] + x.square()
        return ScaledCorrelation(std, self.correlation) if self.correlation else DiagonalScale(std)

    def tensors(self):
        return {}


def kernel(dt=0.5, correlated=False):
    mean = AdditiveMean(
        matrix=0.5 * randn(DIM, DIM),
        times=torch.tensor([0.0, 1.0], dtype=torch.float64),
        by_time=randn(2, DIM, seed=1),
        known=torch.tensor([7]),
        by_token=100 * torch.ones(1, DIM, dtype=torch.float64),
    )
    correlation = (
        LowRankScale(torch.ones(DIM).double(), randn(DIM, 2, seed=2)) if correlated else None
    )
    return KernelSDE(mean, Breathing(correlation), dt=dt, diagonal=not correlated)


@pytest.mark.parametrize("correlated", [False, True])
def test_a_kernels_drift_and_diffusion_are_those_of_one_step_over_dt(correlated):
    sde = kernel(0.5, correlated)
    t, x = torch.tensor([[0.0], [1.0]]).double(), randn(2, 4, DIM, seed=3)
    step = sde.transition(t, x)
    mean = x @ sde.mean.matrix.mT + sde.mean.by_time[:, None]
    assert_close(step.mean, mean)
    assert_close(sde.drift(t, x), (mean - x) / 0.5)
    assert_close(sde.diffusion(t, x).covariance(), step.scale.covariance() / 0.5)
    inner = sde.noise.correlation.covariance() if correlated else torch.eye(DIM).double()
    std = 1 + t[..., None] + x.square()
    assert_close(step.scale.covariance(), std[..., None] * inner * std[..., None, :])


@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 1), (2, 4)])
def test_times_broadcast_against_the_batch_of_states(shape):
    t, x = torch.ones(shape).double(), randn(2, 4, DIM)
    for sde in (kernel(), ornstein_uhlenbeck()):
        for value in (sde.drift(t, x), sde.transition(t, x).mean):
            assert value.shape == (2, 4, DIM)
        assert sde.diffusion(t, x).variance().broadcast_to(2, 4, DIM) is not None


def test_prediction_of_a_block_is_the_transition_at_its_own_times():
    block = Trajectories.from_states(randn(4, 2, DIM), dt=1.0)
    sde = kernel(1.0)
    t = torch.tensor([[0.0, 1.0]] * 4).double()
    assert_close(sde.predict(block).mean, sde.transition(t, block.states).mean)


@pytest.mark.parametrize("correlated", [False, True])
def test_torchsdes_methods_are_the_drift_and_the_diffusion(correlated):
    sde = kernel(0.5, correlated)
    t, x = torch.tensor(1.0).double(), randn(4, DIM, seed=3)
    noise = randn(4, sde.diffusion(t, x).channels, seed=4)
    assert sde.sde_type == "ito"
    assert sde.noise_type == ("general" if correlated else "diagonal")
    assert_close(sde.f(t, x), sde.drift(t, x))
    product = (sde.g(t, x) @ noise[..., None])[..., 0] if correlated else sde.g(t, x) * noise
    assert_close(sde.g_prod(t, x, noise), product)


@pytest.mark.parametrize("density", ["kessler", "ozaki"])
def test_coefficients_are_read_alike_whatever_the_density_of_a_step(density):
    euler = kernel(0.5)
    sde = CoefficientSDE(euler, density)
    t, x = torch.ones(2, 1).double(), randn(2, 4, DIM, seed=3)
    assert_close(sde.drift(t, x), euler.drift(t, x))
    assert_close(sde.diffusion(t, x).variance(), euler.diffusion(t, x).variance())
    assert_close(sde.g(t[0, 0], x[0]), euler.g(t[0, 0], x[0]))
    assert (sde.dt, sde.density, sde.noise_type) == (0.5, density, "diagonal")
    assert sde.tensors().keys() == euler.tensors().keys()
    assert (sde.transition(t, x).mean - euler.transition(t, x).mean).abs().max() > 0.01
    block = Trajectories.from_states(x, 0.5)
    late = block.times.expand(2, 4)
    assert_close(sde.predict(block).mean, sde.transition(late, x).mean)


def test_torchsdes_time_may_be_a_double_where_states_are_floats():
    t, x = torch.tensor(0.3).double(), randn(4, DIM).float()
    sde = LinearSDE.from_step(*exact_law(*PROCESSES["complex"], 0.1), 0.1)
    small = LinearSDE(*(v.float() for v in sde.tensors().values()), dt=0.1)
    assert small.f(t, x[:, :2]).dtype == torch.float32


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def exact_law(matrix, offset, diffusion, dt):
    """Mean and covariance of one step by quadrature: no eigenvectors, no block matrices."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    times, weights = (nodes + 1) * dt / 2, weights * dt / 2
    flows = [expm(matrix.numpy() * s) for s in times]
    integral = sum(w * flow for w, flow in zip(weights, flows, strict=True))
    noise = sum(w * f @ diffusion.numpy() @ f.T for w, f in zip(weights, flows, strict=True))
    step = expm(matrix.numpy() * dt)
    return tuple(map(torch.from_numpy, (step, integral @ offset.numpy(), noise)))


JORDAN = tensor([-1, 1, 0], [0, -1, 1], [0, 0, -1])
FULL = randn(DIM, DIM, seed=5) @ randn(DIM, DIM, seed=5).mT + 0.1 * torch.eye(DIM).double()
PAIR = tensor([2.0, 0.5], [0.5, 1.0])
PROCESSES = {
    # A, b, a
    "stable": (randn(DIM, DIM) - 3 * torch.eye(DIM).double(), randn(DIM, seed=1), FULL),
    "complex": (tensor([-0.2, 3.0], [-2.0, -0.1]), tensor(1.0, -1.0), PAIR),
    "near-defective": (tensor([-1.0, 1.0], [0.0, -1.0 - 1e-9]), tensor(1.0, -1.0), PAIR),
    "defective": (JORDAN, randn(DIM, seed=1), FULL),
    "Brownian motion": (torch.zeros(DIM, DIM).double(), randn(DIM, seed=1), FULL),
    "one free direction": (tensor([0.0, 1.0], [0.0, -0.5]), tensor(1.0, -1.0), PAIR),
    "driven by one noise": (
        tensor([0.0, 1.0], [-4.0, -0.5]),
        tensor(1.0, -1.0),
        tensor([0.0, 0.0], [0.0, 1.0]),
    ),
    "growing": (tensor([0.5, 1.0], [0.0, 0.2]), tensor(1.0, -1.0), PAIR),
    "one dimension": (tensor([-0.7]), tensor(0.3), tensor([2.0])),
}


def ornstein_uhlenbeck(name="stable", dt=0.3):
    return LinearSDE.from_step(*exact_law(*PROCESSES[name], dt), dt)


@pytest.mark.parametrize("dt", [0.05, 1.0])
@pytest.mark.parametrize("name", PROCESSES)
def test_a_linear_sde_is_recovered_from_its_law_of_one_step(name, dt):
    matrix, offset, diffusion = PROCESSES[name]
    sde = ornstein_uhlenbeck(name, dt)
    # a defective matrix is resolved to 1e-8, over dt^2 for the diffusion
    close = {"rtol": 1e-5, "atol": 1e-5} if "defective" in name else {"rtol": 1e-7, "atol": 1e-7}
    assert_close(sde.matrix, matrix, **close)
    assert_close(sde.offset[0], offset, **close)
    x = randn(5, len(offset), seed=3)
    t = torch.zeros(()).double()
    assert_close(sde.drift(t, x), x @ matrix.mT + offset, **close)
    noise = sde.diffusion(t, x).covariance()
    assert_close(noise, diffusion, rtol=1e-5, atol=1e-6 * float(diffusion.abs().max()))


@pytest.mark.parametrize("name", PROCESSES)
def test_the_transition_of_a_linear_sde_is_the_law_it_was_made_from(name):
    step, offset, noise = exact_law(*PROCESSES[name], 0.3)
    x = randn(5, len(offset), seed=3)
    law = ornstein_uhlenbeck(name).transition(torch.zeros(()).double(), x)
    assert_close(law.mean, x @ step.mT + offset)
    assert_close(law.scale.covariance(), noise)


@given(dim=st.integers(1, 8), seed=st.integers(0, 2**30), dt=st.floats(0.01, 1))
@settings(max_examples=25, deadline=None)
def test_random_stable_processes_are_recovered(dim, seed, dt):
    matrix = randn(dim, dim, seed=seed) / dim**0.5 - torch.eye(dim).double()
    half = randn(dim, dim, seed=seed + 1)
    diffusion = half @ half.mT + 0.1 * torch.eye(dim).double()
    offset = randn(dim, seed=seed + 2)
    sde = LinearSDE.from_step(*exact_law(matrix, offset, diffusion, dt), dt)
    assert_close(sde.matrix, matrix, rtol=1e-6, atol=1e-6)
    assert_close(sde.offset[0], offset, rtol=1e-6, atol=1e-6)
    assert_close(
        sde.diffusion(torch.zeros(()), offset).covariance(), diffusion, rtol=1e-5, atol=1e-5
    )


def test_half_of_the_variance_of_a_wide_process_is_recovered_too():
    dim = 64
    matrix = randn(dim, dim) / dim**0.5 - 1.5 * torch.eye(dim).double()
    diffusion = torch.logspace(-2, 2, dim).double().diag()
    sde = LinearSDE.from_step(*exact_law(matrix, torch.zeros(dim).double(), diffusion, 0.5), 0.5)
    assert_close(sde.matrix, matrix, rtol=1e-8, atol=1e-8)
    assert_close(
        sde.diffusion(torch.zeros(()), diffusion).covariance(), diffusion, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("value", [-0.3, 0.0])
def test_a_one_step_matrix_without_a_real_logarithm_is_an_error_that_says_what_to_do(value):
    step = torch.tensor([0.5, value]).double().diag()
    with pytest.raises(BadNumbers, match=rf"has the eigenvalue {value:.3g}; use density=discrete"):
        LinearSDE.from_step(step, torch.zeros(2).double(), torch.eye(2).double(), 1.0)


def test_a_law_without_a_positive_diffusion_is_an_error_that_says_what_to_do():
    # a rotation by 2 radians mixes the directions: the covariance over the step is positive
    matrix, impossible = tensor([-0.1, 2.0], [-2.0, -0.1]), tensor([1.0, 0.0], [0.0, -0.2])
    law = exact_law(matrix, torch.zeros(2).double(), impossible, 1.0)
    assert torch.linalg.eigvalsh(law[2])[0] > 0.1
    with pytest.raises(BadNumbers, match=r"negative eigenvalue -0\.\d+; use density=discrete"):
        LinearSDE.from_step(*law, 1.0)


def test_a_singular_covariance_is_an_error_that_names_the_cause():
    with pytest.raises(BadNumbers, match=r"copies of others\? A basis such as pca:K"):
        LinearSDE.from_step(
            0.5 * torch.eye(2).double(), torch.zeros(2).double(), torch.ones(2, 2).double(), 1.0
        )


def test_a_rotation_by_almost_half_a_turn_has_its_logarithm():
    angle = 3.1
    c, s = np.cos(angle), np.sin(angle)
    assert_close(real_logarithm(tensor([c, -s], [s, c])), tensor([0.0, -angle], [angle, 0.0]))


def test_eigenvectors_of_a_defective_matrix_are_those_of_one_nearby():
    values, vectors = eigenbasis(JORDAN)
    rebuilt = (vectors * values @ torch.linalg.inv(vectors)).real
    assert (rebuilt - JORDAN).abs().max() < 1e-7
    assert torch.linalg.cond(vectors) < 1e7


def test_the_integral_of_the_exponential_of_zero_is_dt():
    assert_close(
        integral_of_exponential(torch.zeros(2, 2).double(), 0.3), 0.3 * torch.eye(2).double()
    )


def test_a_linear_sde_keeps_the_type_of_what_it_was_made_from():
    parts = (part.float() for part in exact_law(*PROCESSES["stable"], 0.3))
    sde = LinearSDE.from_step(*parts, 0.3)
    assert {t.dtype for t in sde.tensors().values()} == {torch.float32}
    assert all(t.is_contiguous() for t in sde.tensors().values())
    again = LinearSDE(**sde.tensors(), dt=0.3)
    assert torch.equal(again.matrix, sde.matrix)
