"""A mixture gains over a Gaussian what the noise is worth, and nothing where it is Gaussian."""

import math

import pytest
import torch

from sdelens.evidence.gaussianity import DiagonalMixture, gaussian, mixture_gain
from sdelens.evidence.nested import nested
from sdelens.seeds import generator
from sdelens.testing import discrete_markov
from tests.core.evidence.simulated import autoregression, kernel, sides


def test_a_mixture_gains_what_the_true_noise_is_better_than_a_gaussian():
    system = discrete_markov()
    states = system.simulate(800, 40, seed=9)
    rows = sides(kernel(torch.tensor([[0.5]]), 1.0), states)
    standard = nested([rows]).standard
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
    standard = nested([rows]).standard
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
