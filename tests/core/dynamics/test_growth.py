"""How much a step stretches deviations, where that is known."""

import math

import pytest
import torch

from sdelens.dynamics.growth import growth
from sdelens.laws.law import Mean, Noise
from sdelens.laws.scale import DiagonalScale
from sdelens.laws.sde import KernelSDE
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator
from tests.language import kernel, three_sides


class Unit(Noise):
    def __call__(self, t, x):
        return DiagonalScale(torch.ones_like(x))

    def tensors(self):
        return {}


class Cubic(Mean):
    """Each coordinate goes to its third power."""

    def __call__(self, t, x, token):
        return x**3

    def tensors(self):
        return {}


def test_a_linear_kernel_stretches_all_directions_alike():
    law = kernel(0.5, 3, Unit())
    _, _, test = three_sides(law)
    found = growth(law, test, seed=0)
    assert found.shape == (int(test.steps.sum()),)
    # eight directions of three dimensions: |v|² over 24 has a relative variance of 2/24, half of
    # which error its logarithm's half has; the same for all states
    assert torch.allclose(found, found[:1], atol=1e-6)
    assert float(found[0]) == pytest.approx(math.log(0.5), abs=4 * math.sqrt(2 / 24) / 2)


def test_it_follows_the_state():
    states = 0.5 + torch.rand(5, 9, 200, generator=generator(0, "states"))
    paths = Trajectories.from_states(states, 1.0)
    found = growth(KernelSDE(Cubic(), Unit()), paths, seed=1)
    x = states[:, :-1].reshape(-1, 200).double()
    exact = (3 * x**2).square().mean(-1).log() / 2
    # the error of eight directions: that of a weighted mean of 1600 squares of normals
    weights = (3 * x**2).square()
    error = (2 * weights.square().sum(-1) / 8).sqrt() / weights.sum(-1) / 2
    assert ((found - exact).abs() < 4.5 * error).all()
    assert torch.corrcoef(torch.stack([found, exact]))[0, 1] > 0.8
