"""Noise with deviations of its own at each time."""

import pytest
import torch

from sdelens.errors import UnknownName, UsageError
from sdelens.fitting.comparison import comparisons
from sdelens.fitting.options import FitOptions
from sdelens.laws.constant_noise import NoiseSpec
from sdelens.laws.scale import DiagonalScale, ScaledCorrelation
from sdelens.laws.timed_noise import TimedNoise
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import FitTask, ignore_epoch
from sdelens.seeds import generator
from sdelens_plugins.probes.constant import ConstantProbe
from sdelens_plugins.probes.diagonal import DiagonalProbe
from sdelens_plugins.probes.linear import LinearProbe
from sdelens_plugins.probes.token import TokenProbe

STEPS, DIM = 6, 3
SHAPE = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
"""A root: the first two coordinates are correlated by 0.6."""


def growing(paths, *, seed, rate=0.3, root=SHAPE):
    """X' = 0.9 X + e^{rate t} root noise."""
    noise = torch.randn(STEPS + 1, paths, DIM, generator=generator(seed))
    states = [noise[0]]
    for t, step in enumerate(noise[1:]):
        states.append(0.9 * states[-1] + torch.e ** (rate * t) * step @ root.mT)
    return Trajectories.from_states(torch.stack(states, dim=1), 1.0)


def fitted(probe, train):
    return probe.fit(train, train, seed=0, watch=ignore_epoch).law


@pytest.fixture(scope="module")
def train():
    return growing(4000, seed=1)


@pytest.mark.parametrize("form", ["diagonal", "scalar", "correlated:1", "full"])
def test_deviations_at_each_time_are_recovered(train, form):
    law = fitted(LinearProbe(noise=f"{form}@time"), train)
    truth = torch.e ** (0.3 * torch.arange(STEPS))
    # a deviation from n residuals is off by its own size over the root of 2n
    error = truth / (2 * 4000) ** 0.5
    assert ((law.noise.deviations - truth[:, None]).abs() < 5 * error[:, None]).all()


def test_correlations_are_shared_by_all_times(train):
    law = fitted(LinearProbe(noise="full@time"), train)
    t = torch.tensor([0.0, 5.0])
    covariance = law.transition(t, torch.zeros(2, DIM)).covariance()
    assert isinstance(covariance, ScaledCorrelation)
    for time, found in zip(t, covariance.covariance(), strict=True):
        whitened = found / torch.e ** (0.6 * time)
        # of 24,000 residuals; entries of a covariance are off by up to sqrt(2/n), at each time
        # by the deviations' sqrt(2/4000)
        assert torch.allclose(whitened, SHAPE @ SHAPE.mT, atol=5 * (2 / 4000) ** 0.5)


def test_where_the_truth_is_constant_each_time_has_nearly_the_same():
    still = growing(4000, seed=2, rate=0.0)
    std = fitted(LinearProbe(noise="diagonal@time"), still).noise.deviations
    assert (std - 1).abs().max() < 5 / (2 * 4000) ** 0.5


def test_deviations_of_few_residuals_are_drawn_to_the_profile():
    few = growing(4, seed=3)
    law = fitted(ConstantProbe(noise="diagonal@time"), few)
    ratios = law.noise.deviations / law.noise.deviations[:, :1]
    assert ratios.std(0).max() < 0.25  # of four residuals by themselves it would be about 0.5


@pytest.mark.parametrize("probe", [ConstantProbe, DiagonalProbe, LinearProbe, TokenProbe])
@pytest.mark.parametrize("form", ["diagonal@time", "correlated:1@time"])
def test_a_restored_law_is_the_one_that_was_saved(train, probe, form):
    made = probe(noise=form)
    law = fitted(made, train)
    again = made.restore({"dt": 1.0}, law.tensors())
    assert isinstance(again.noise, TimedNoise)
    one, other = (each.predict(train).log_density(train.states) for each in (law, again))
    assert torch.equal(one, other)


def test_baselines_get_the_same_deviations_and_all_gain_by_them():
    sides = [growing(n, seed=seed) for n, seed in ((800, 4), (100, 5), (200, 6))]
    scores = {}
    for noise in ("diagonal", "diagonal@time"):
        [found] = comparisons(
            [FitTask(sides[0], sides[1], 0)],
            LinearProbe(noise=noise),
            FitOptions(basis="raw"),
            state_dependent=True,
        )
        numbers = {n: n for n in range(200)}
        scores[noise] = found.scores(sides[2], numbers)
        assert scores[noise]["noise_column"] == "constant"
    plain, timed = (scores[noise]["baselines"] for noise in ("diagonal", "diagonal@time"))
    for name in ("random_walk", "iid_position", "linear"):
        row = timed[name]
        margin = 5 * (row["nll_per_dim_stderr"] + plain[name]["nll_per_dim_stderr"])
        assert row["nll_per_dim"] < plain[name]["nll_per_dim"] - margin
    gain = scores["diagonal@time"]["baselines"]["linear"]
    assert abs(gain["gain_of_fit"]) < 1e-6


def test_a_time_that_was_not_fitted_takes_the_nearest():
    noise = TimedNoise(torch.tensor([0.0, 1.0]), torch.tensor([[1.0], [2.0]]))
    scale = noise(torch.tensor([-1.0, 0.4, 9.0]), torch.zeros(3, 1))
    assert isinstance(scale, DiagonalScale)
    assert scale.std[:, 0].tolist() == [1.0, 1.0, 2.0]


def test_a_form_that_is_none_is_refused():
    with pytest.raises(UsageError, match="only time may follow @ in noise, as in diagonal@time"):
        NoiseSpec.parse("diagonal@depth")
    with pytest.raises(UnknownName, match="No noise family named 'wild'"):
        LinearProbe(noise="wild@time")
    for probe in (LinearProbe, DiagonalProbe):
        with pytest.raises(UsageError, match="use noise=full or density=discrete"):
            probe(density="exact", noise="full@time")
