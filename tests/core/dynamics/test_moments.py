"""Moments over time, against closed forms and against sampling."""

import torch

from sdelens.dynamics.affine import Affine
from sdelens.dynamics.moments import (
    Projection,
    central,
    closure_moments,
    linear_moments,
    simulated,
)
from sdelens.estimation.additive import AdditiveMean
from sdelens.estimation.noise import ConstantNoise
from sdelens.laws.law import Mean, Noise
from sdelens.laws.scale import DiagonalScale
from sdelens.laws.sde import KernelSDE, LinearSDE
from sdelens.seeds import generator
from sdelens.testing.ornstein_uhlenbeck import ornstein_uhlenbeck


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def itself(dim, times):
    """Every coordinate as a component."""
    return Projection(torch.eye(dim).double(), torch.zeros(len(times), dim).double())


class Bent(Mean):
    """x - x^3 / 10."""

    def __call__(self, t, x, token):
        return x - 0.1 * x**3

    def tensors(self):
        return {}


class Growing(Noise):
    """Deviations (1 + x^2)^(1/2) / 4."""

    def __call__(self, t, x):
        return DiagonalScale((1 + x**2).sqrt() / 4)

    def tensors(self):
        return {}


def test_central_moments_are_those_of_two_points():
    values = torch.tensor([[1.0], [5.0], [1.0], [5.0]]).double()
    assert central(values).tolist() == [[3.0, 4.0, 0.0, 16.0]]


def test_the_recursion_of_an_exact_law_is_the_closed_form_of_ornstein_and_uhlenbeck():
    system = ornstein_uhlenbeck(2, dt=0.25)
    flow, unit = torch.linalg.matrix_exp(0.25 * system.rate), step_covariance(system)
    stationary = torch.eye(2).double()
    for _ in range(400):  # the fixed point of C = e^A C e^A' + S
        stationary = flow @ stationary @ flow.mT + unit
    offset = system.level - flow @ system.level
    sde = LinearSDE.from_step(flow, offset, unit, 0.25)
    times = torch.arange(9).double() * 0.25
    start = torch.tensor([[3.0, -2.0]]).double()
    found = linear_moments(Affine.of(sde), start, times, itself(2, times))
    for step, t in enumerate(times):
        turn = torch.linalg.matrix_exp(t * system.rate)
        mean = system.level + turn @ (start[0] - system.level)
        variance = (stationary - turn @ stationary @ turn.mT).diagonal()
        expected = torch.stack([mean, variance, 0 * mean, 3 * variance**2], dim=-1)
        assert torch.allclose(found[step], expected, atol=1e-8)


def step_covariance(system):
    """By a sum over 1000 short steps: an integral that owes nothing to Van Loan."""
    h = system.dt / 1000
    middle = (torch.arange(1000) + 0.5).double() * h
    turn = torch.linalg.matrix_exp(middle[:, None, None] * system.rate)
    return h * (turn @ system.unit @ turn.mT).sum(0)


def kernel(matrix, std, by_time):
    blank, times = torch.empty(0, dtype=torch.long), torch.arange(len(by_time)).double()
    mean = AdditiveMean(matrix, times, by_time, blank, torch.zeros(0, len(matrix)).double())
    return KernelSDE(mean, ConstantNoise.independent(std))


def test_the_recursion_is_what_simulation_finds_for_any_starts():
    matrix = torch.tensor([[0.7, 0.3], [-0.2, 0.8]]).double()
    law = kernel(matrix, torch.tensor([0.5, 1.0]).double(), normals(6, 2, seed=1))
    times = torch.arange(6).double()
    starts = normals(20, 2, seed=2).exp()  # skewed, so that third moments are not zero
    view = Projection(normals(2, 3, seed=3), normals(6, 3, seed=4))
    found = linear_moments(Affine.of(law), starts, times, view)
    drawn = simulated(law, starts, times, view, draws=2000, seed=0)
    parts = torch.stack([central(part.flatten(1, 2)) for part in drawn.chunk(20, dim=1)])
    error = parts.std(0) / 20**0.5
    off = (central(drawn.flatten(1, 2)) - found)[1:] / error[1:]
    assert float(found[5, :, 2].abs().min()) > 0
    assert float(off.abs().max()) < 5  # of 60 numbers, with 19 degrees of freedom
    assert torch.allclose(central(drawn.flatten(1, 2))[0], found[0])


def test_the_closure_of_a_linear_law_has_its_exact_mean_and_variance():
    law = kernel(
        torch.tensor([[0.7, 0.3], [-0.2, 0.8]]).double(),
        torch.ones(2).double(),
        normals(6, 2, seed=1),
    )
    times, starts = torch.arange(6).double(), normals(20, 2, seed=2)
    closed = closure_moments(law, starts, times, itself(2, times))
    exact = linear_moments(Affine.of(law), starts, times, itself(2, times))
    assert torch.allclose(closed[..., :2], exact[..., :2])
    assert torch.allclose(closed[..., 3], 3 * closed[..., 1] ** 2)


def test_the_closure_of_a_cubic_law_has_its_closed_form_mean_and_noise():
    law = KernelSDE(Bent(), Growing())
    assert Affine.of(law) is None
    starts, times = 1 + normals(50, 1), torch.arange(2).double()
    first, second = closure_moments(law, starts, times, itself(1, times))[..., 0, :]
    mean, variance = first[0], first[1]
    expected = mean - 0.1 * (mean**3 + 3 * mean * variance)
    assert torch.allclose(second[0], expected)
    # cubature has two points in one dimension, mean ± deviation
    ends = torch.stack([mean + variance.sqrt(), mean - variance.sqrt()])
    spread = (ends - 0.1 * ends**3).var(correction=0)
    assert torch.allclose(second[1], spread + (1 + mean**2 + variance) / 16)
