"""Maps and noise through the depth, against systems whose answer is known."""

import math
from dataclasses import replace

import pytest
import torch

from sdelens.dynamics.depth import DepthMaps, DepthMoments, jackknifed, metric
from sdelens.dynamics.depth_noise import LAWS, DepthSquares, NoiseLaws, depths, fit_slope
from sdelens.estimation.additive import AdditiveMean
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.sde import KernelSDE
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator

TOKENS, DIM, STEPS = 30, 4, 7
DEGREES, STRETCH = 20.0, 1.1


def turning():
    """Turns two planes by the same angle and stretches everything alike."""
    angle = math.radians(DEGREES)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return STRETCH * torch.block_diag(turn, turn)


def through(documents, deviation, *, seed, matrix=None):
    """Depth paths of 30 tokens a document, with the noise's deviation at each arrival."""
    matrix = turning() if matrix is None else matrix
    noise = torch.randn(STEPS + 1, documents * TOKENS, DIM, generator=generator(seed))
    states = [3 * noise[0]]
    for size, step in zip(deviation, noise[1:], strict=True):
        states.append(states[-1] @ matrix.mT + size * step)
    paths = Trajectories.from_states(torch.stack(states, dim=1), 1.0)
    return replace(paths, document=torch.arange(documents).repeat_interleave(TOKENS))


def walk():
    """A law to stand beside the maps: the random walk."""
    blank = torch.empty(0, dtype=torch.long)
    mean = AdditiveMean(
        torch.eye(DIM), torch.zeros(1), torch.zeros(1, DIM), blank, torch.zeros(0, DIM)
    )
    return KernelSDE(mean, ConstantNoise.independent(torch.ones(DIM)))


def analyzed(deviation, *, spec="standard"):
    """Maps, jackknife and squares of training and held-out documents."""
    train, test = through(120, deviation, seed=1), through(40, deviation, seed=2)
    basis, groups = fit_basis(BasisSpec(spec), train), torch.arange(120)
    moments = DepthMoments.of(basis, train, groups, seed=0)
    maps = DepthMaps.of(moments.total())
    # the identity in any coordinates is the random walk
    squares = [DepthSquares.of(maps, basis, walk(), paths, groups) for paths in (train, test)]
    return moments, maps, squares


@pytest.fixture(scope="module")
def exponential():
    return analyzed(torch.exp(0.15 * depths(STEPS)).float())  # variance e^{0.3 depth}


def test_rotation_and_stretch_are_recovered_within_their_errors(exponential):
    moments, maps, _ = exponential
    value, stderr = jackknifed(moments, ridge=0.0)
    assert torch.allclose(value[:, 0], maps.stretch, rtol=1e-3)
    truth = torch.tensor([STRETCH, DEGREES], dtype=torch.float64)
    assert stderr.isfinite().all()
    # the angle of a noisy map is off at second order too
    assert ((value - truth).abs() < 5 * stderr + torch.tensor([0.0, 0.3])).all()
    assert (stderr[:, 1] < 1.0).all()


def test_angles_are_those_of_the_models_own_coordinates_whatever_the_basis():
    wide = torch.diag(torch.tensor([1.0, 10.0, 1.0, 10.0]))
    train = through(60, torch.ones(STEPS), seed=3)
    scaled = replace(train, states=train.states @ wide)
    found = []
    for spec in ("raw", "standard", "whiten:4"):
        basis = fit_basis(BasisSpec(spec), scaled)
        moments = DepthMoments.of(basis, scaled, torch.arange(60), seed=0)
        maps = DepthMaps.of(moments.total(), ridge=0.0)
        found.append(torch.stack([maps.rotation, maps.stretch]))
        lengths = (scaled.states[:, 0] - basis.means[0]).norm(dim=-1).float()
        z = basis.encode(torch.zeros(len(scaled.states)), scaled.states[:, 0])
        assert torch.allclose(
            (z.double() @ metric(basis)).norm(dim=-1).float(), lengths, rtol=1e-3
        )
    assert torch.allclose(found[0], found[1], rtol=1e-3)
    assert torch.allclose(found[0], found[2], rtol=1e-3)


def test_exchanged_increments_neither_turn_nor_stretch(exponential):
    moments, maps, _ = exponential
    null = DepthMaps.of(moments.total(), swapped=True)
    # increments of another token say nothing of the state: the identity, up to 1/sqrt(3600)
    assert (null.rotation < 5).all()
    assert ((null.stretch - 1).abs() < 0.05).all()
    assert (maps.rotation > 15).all()


def test_polar_parts_multiply_to_the_map(exponential):
    _, maps, _ = exponential
    turn, pull = maps.polar()
    assert torch.allclose(turn @ pull, maps.matrix, atol=1e-9)
    assert torch.allclose(turn @ turn.mT, torch.eye(DIM).double().expand_as(turn), atol=1e-9)
    assert torch.allclose(pull, pull.mT, atol=1e-9)


def test_an_exponential_growth_of_noise_is_recovered_within_its_error(exponential):
    _, _, (train, test) = exponential
    laws = NoiseLaws.of(train, test, seed=0)
    assert abs(float(laws.slope.value) - 0.3) < 4 * float(laws.slope.stderr)
    assert float(laws.slope.stderr) < 0.01
    free, power = (laws.gain[LAWS.index(name)] for name in ("free", "power"))
    assert float(free.high) < 0.01
    assert float(power.high) < 0
    assert laws.chance < 0.01


def test_the_error_of_the_exponent_is_its_spread_over_samples():
    found = []
    for seed in range(12):
        size = torch.exp(0.15 * depths(STEPS)).float()
        train = through(30, size, seed=100 + seed)
        basis, groups = fit_basis(BasisSpec("raw"), train), torch.arange(30)
        maps = DepthMaps.of(DepthMoments.of(basis, train, groups, seed=0).total())
        squares = DepthSquares.of(maps, basis, walk(), train, groups)
        found.append(NoiseLaws.of(squares, squares, seed=seed).slope)
    values = torch.stack([each.value for each in found])
    said = torch.stack([each.stderr for each in found]).square().mean().sqrt()
    # the deviation of 12 values is known to a fifth
    assert 0.4 < float(values.std() / said) < 1.8
    assert abs(float(values.mean()) - 0.3) < 4 * float(said) / 12**0.5


def test_a_power_law_is_told_from_an_exponential_one():
    _, _, (train, test) = analyzed(depths(STEPS).float() ** 0.5, spec="raw")
    laws = NoiseLaws.of(train, test, seed=0)
    power = laws.gain[LAWS.index("power")]
    assert float(power.low) > 0
    assert abs(float(laws.power.value) - 1) < 4 * float(laws.power.stderr)


def test_noise_that_does_not_follow_the_law_is_seen():
    sizes = torch.tensor([3.0, 1, 1, 1, 1, 1, 3.0])
    _, _, (train, test) = analyzed(sizes, spec="raw")
    laws = NoiseLaws.of(train, test, seed=0)
    assert float(laws.gain[LAWS.index("free")].low) > 0.1
    assert laws.chance > 0.05


def test_constant_noise_has_no_exponent():
    _, _, (train, test) = analyzed(torch.ones(STEPS), spec="raw")
    laws = NoiseLaws.of(train, test, seed=0)
    assert abs(float(laws.slope.value)) < 4 * float(laws.slope.stderr)
    assert float(laws.gain[LAWS.index("free")].high) < 0.01


def test_laws_can_leave_out_the_first_steps():
    sizes = torch.exp(0.15 * depths(STEPS)).float()
    sizes[0] = 20.0
    _, _, (train, test) = analyzed(sizes, spec="raw")
    every, later = (NoiseLaws.of(train, test, first=first, seed=0) for first in (1, 2))
    assert abs(float(every.slope.value) - 0.3) > 10 * float(every.slope.stderr)
    assert abs(float(later.slope.value) - 0.3) < 4 * float(later.slope.stderr)
    assert later.log_variance.shape == (len(LAWS), STEPS - 1)


def test_increments_are_explained_by_maps_and_not_by_the_random_walk(exponential):
    _, _, (_, test) = exponential
    assert torch.allclose(test.fitted, test.motion, rtol=1e-4)
    assert (test.residual.sum(0) < test.motion.sum(0)).all()
    assert test.count.sum() == 40 * TOKENS


def test_the_slope_is_where_the_likelihood_is_highest():
    x, v = depths(5), torch.tensor([[0.5, 3.0, 0.7, 9.0, 2.0]], dtype=torch.float64)
    start, slope = fit_slope(x, v)[0]
    rest = 1 - v[0] * (-(start + slope * x)).exp()
    assert abs(float(rest.sum())) < 1e-9
    assert abs(float((rest * x).sum())) < 1e-9


def test_few_documents_have_no_jackknife():
    paths = through(3, torch.ones(STEPS), seed=5)
    basis = fit_basis(BasisSpec("raw"), paths)
    moments = DepthMoments.of(basis, paths, torch.arange(3), seed=0)
    assert moments.parts == 3
    assert jackknifed(moments, ridge=1e-4)[1].isnan().all()
