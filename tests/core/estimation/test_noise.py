import math
import re

import pytest
import torch
from torch.testing import assert_close

from sdelens.errors import UnknownName, UsageError
from sdelens.estimation.noise import FLOOR, StateDependentNoise, features_of, fit_noise
from sdelens.estimation.optimise import Schedule
from sdelens.laws.constant_noise import ConstantNoise, NoiseSpec
from sdelens.laws.law import Mean
from sdelens.laws.noise_families.diagonal import Diagonal
from sdelens.laws.noise_families.low_rank import factor_analysis
from sdelens.laws.scale import DiagonalScale, FullScale
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import Trajectories


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Zero(Mean):
    """E[X'|x] = 0."""

    def __call__(self, t, x, token):
        return torch.zeros_like(x)

    def tensors(self):
        return {}


def scale_at(x):
    return 0.3 + 1.2 * torch.sigmoid(2 * x[:, :1])


def heteroscedastic(paths=200, length=40, seed=0):
    """X' = s(X) noise with the same scale in both coordinates, from 0.3 to 1.5."""
    x = randn(paths, 2, seed=seed)
    states = [x]
    for step in range(1, length):
        noise = randn(paths, 2, seed=1000 * seed + step)
        x = scale_at(x) * noise
        states.append(x)
    return Trajectories.from_states(torch.stack(states, 1), 1.0)


def fitted(spec, train, validation, steps=1500):
    moments = Moments.of(train, times_of(train))
    covariance = moments.yy / moments.count
    schedule = Schedule(epochs=1, batch=512, rate=1e-2, least_steps=steps)
    (noise,) = fit_noise(
        NoiseSpec(spec),
        [Zero()],
        [covariance],
        features_of(moments, 2),
        train,
        validation,
        hidden=[32],
        schedule=schedule,
        seed=0,
    )
    return noise


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "No noise family named ''. Known: correlated:K, diagonal, full, scalar."),
        ("fully", "No noise family named 'fully'. Did you mean 'full'?"),
        ("correlated", "noise must be of the form correlated:K, got 'correlated'"),
        ("correlated:0", "noise must be of the form correlated:K, got 'correlated:0'"),
        ("diagonal:2", "noise must be of the form diagonal, got 'diagonal:2'"),
    ],
)
def test_a_name_that_is_no_noise_is_an_error(name, message):
    with pytest.raises((UnknownName, UsageError), match=re.escape(message)):
        NoiseSpec(name)


def test_the_rank_stays_below_the_dimension():
    covariance = torch.eye(8, dtype=torch.float64) + 1
    scale = ConstantNoise.of(NoiseSpec("correlated:64"), covariance).scale
    assert scale.columns.shape == (8, 7)
    for name, kind in (("diagonal", DiagonalScale), ("full", FullScale)):
        assert type(ConstantNoise.of(NoiseSpec(name), covariance).scale) is kind


@pytest.mark.parametrize("name", ["scalar", "correlated:2", "full"])
def test_one_coordinate_has_diagonal_noise_in_every_family(name):
    assert NoiseSpec(name).family(1) == Diagonal()
    noise = ConstantNoise.of(NoiseSpec(name), torch.tensor([[4.0]]).double())
    assert noise.scale.std.tolist() == [2.0]
    assert ConstantNoise.restore(NoiseSpec(name), noise.tensors()).scale.std.tolist() == [2.0]


def test_factor_analysis_recovers_loadings_and_unique_deviations():
    loadings = torch.tensor(
        [[0.8, 0.0], [0.6, 0.3], [0.0, 0.7], [0.2, 0.5], [0.5, -0.4], [0.1, 0.9]]
    )
    loadings = loadings.double()
    unique = (1 - loadings.square().sum(-1)).sqrt()
    correlation = unique.square().diag() + loadings @ loadings.mT
    found_unique, found = factor_analysis(correlation, 2, sweeps=2000)
    assert_close(found_unique.square().diag() + found @ found.mT, correlation, atol=2e-3, rtol=0)


def test_constant_correlated_noise_has_the_covariance_of_the_residuals():
    columns = randn(5, 2)
    truth = columns @ columns.mT + torch.tensor([0.5, 1.0, 0.7, 0.4, 0.9]).diag()
    noise = ConstantNoise.of(NoiseSpec("correlated:2"), truth.double())
    found = noise(torch.zeros(()), torch.zeros(5)).covariance()
    assert_close(found, truth, atol=0.03, rtol=0.02)
    diagonal = ConstantNoise.of(NoiseSpec("diagonal"), truth.double())
    assert_close(diagonal.scale.std.square(), truth.diagonal())
    scalar = ConstantNoise.of(NoiseSpec("scalar"), truth.double())
    assert_close(scalar.scale.std.square(), truth.diagonal().mean().expand(5))
    full = ConstantNoise.of(NoiseSpec("full"), truth.double())
    # a millionth of each variance is added, so that copies of a coordinate have a density
    assert_close(full.scale.covariance(), truth, atol=1e-5, rtol=1e-5)


def test_full_noise_of_a_copied_coordinate_still_has_a_density():
    copied = torch.ones(2, 2).double()
    noise = ConstantNoise.of(NoiseSpec("full"), copied)
    assert float(noise.scale.log_density(torch.zeros(2))) > 0
    assert not noise.diagonal


def test_a_state_dependent_scale_is_recovered():
    noise = fitted("diagonal", heteroscedastic(), heteroscedastic(40, seed=1))
    x = torch.tensor([[0.0, 0.0], [0.8, 0.0], [-0.8, 0.3], [1.2, -0.5]])
    std = noise(torch.full((4,), 20.0), x).covariance().diagonal(dim1=-2, dim2=-1).sqrt()
    truth = scale_at(x).expand(4, 2)
    # the scale itself varies by a factor of 2.7 between these states
    assert ((std / truth).log().abs() < 0.2).all()


def test_state_dependent_noise_beats_constant_noise_and_starts_as_it():
    train, held = heteroscedastic(), heteroscedastic(40, seed=1)
    moments = Moments.of(train, times_of(train))
    covariance = moments.yy / moments.count
    constant = ConstantNoise.of(NoiseSpec("diagonal"), covariance)
    start = StateDependentNoise.stack(
        NoiseSpec("diagonal"), features_of(moments, 2), [covariance], [8], 0
    ).member(0)
    flat = held.flat()
    floor = FLOOR * start.features.std
    widened = (floor + constant.scale.std).expand(flat.x.shape)
    assert_close(start(flat.t, flat.x).std, widened)
    found = fitted("diagonal", train, held)
    better = found(flat.t, flat.x).log_density(flat.following)
    worse = constant(flat.t, flat.x).log_density(flat.following)
    gain = better - worse
    assert float(gain.mean()) > 4 * float(gain.std()) / math.sqrt(len(gain))


def test_a_scalar_scale_is_one_number_for_all_coordinates():
    noise = fitted("scalar", heteroscedastic(), heteroscedastic(40, seed=1))
    x = torch.tensor([[0.0, 0.0], [0.8, 0.0], [-0.8, 0.3]])
    std = noise(torch.full((3,), 20.0), x).variance().sqrt()
    assert torch.equal(std[:, 0], std[:, 1])
    assert ((std / scale_at(x)).log().abs() < 0.2).all()


@pytest.mark.parametrize("spec", ["correlated:2", "full"])
def test_correlated_state_dependent_noise_recovers_the_correlation(spec):
    factor = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.5, 0.0, 0.8]])
    states = randn(200, 30, 3) @ factor.mT
    train = Trajectories.from_states(states[:160], 1.0)
    noise = fitted(spec, train, Trajectories.from_states(states[160:], 1.0), steps=200)
    truth = factor @ factor.mT
    found = noise(torch.full((1,), 9.0), torch.zeros(1, 3)).covariance()[0]
    scale = truth.diagonal().sqrt()
    # 4640 transitions: a correlation is known to 1/sqrt(4640) = .015; the network adds its own
    assert_close(found / scale[:, None] / scale, truth / scale[:, None] / scale, atol=0.12, rtol=0)


@pytest.mark.parametrize("spec", ["scalar", "diagonal", "correlated:1", "full"])
def test_what_is_saved_comes_back_bit_for_bit(spec):
    noise = fitted(spec, heteroscedastic(40, 10), heteroscedastic(20, 10, seed=1), steps=5)
    again = StateDependentNoise.restore(noise.tensors(), 2, NoiseSpec(spec))
    t, x = torch.arange(7.0), randn(7, 2)
    following = randn(7, 2, seed=3)
    assert torch.equal(noise(t, x).log_density(following), again(t, x).log_density(following))


def test_members_of_a_stack_are_those_that_are_fitted_alone():
    train, held = heteroscedastic(40, 10), heteroscedastic(20, 10, seed=1)
    moments = Moments.of(train, times_of(train))
    covariance = moments.yy / moments.count

    def fit(count):
        return fit_noise(
            NoiseSpec("diagonal"),
            [Zero()] * count,
            [covariance] * count,
            features_of(moments, 2),
            train,
            held,
            hidden=[8],
            schedule=Schedule(epochs=1, batch=64, least_steps=20),
            seed=0,
        )

    alone, together = fit(1)[0], fit(2)[0]
    t, x = torch.arange(5.0), randn(5, 2)
    # a batched product adds in another order
    assert_close(together(t, x).std, alone(t, x).std, rtol=2e-2, atol=1e-3)
