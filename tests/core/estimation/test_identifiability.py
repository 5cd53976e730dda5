"""The expected error of a linear drift, against errors that were made."""

import math

import pytest
import torch

from sdelens.estimation.identifiability import Identifiability
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator


def moments(dim, paths, length, decay, seed=0):
    """Of a stationary autoregression of unit variance."""
    noise = torch.randn(length, paths, dim, generator=generator(seed))
    states = [noise[0]]
    for kick in noise[1:]:
        states.append(decay * states[-1] + math.sqrt(1 - decay**2) * kick)
    block = Trajectories.from_states(torch.stack(states, dim=1), 1.0)
    return Moments.of(block, times_of(block)[:1])


def test_the_expected_error_is_that_of_least_squares():
    dim, decay, made = 20, 0.9, []
    for seed in range(20):
        found = moments(dim, 40, 51, decay, seed)
        slope = torch.linalg.solve(found.xx, found.xy)
        miss = slope - decay * torch.eye(dim)
        made.append(float((miss.mT @ found.xx @ miss).trace() / found.count))
    energy = (1 - decay) ** 2 * dim
    told = [Identifiability.of(moments(dim, 40, 51, decay, s)).error ** 2 for s in range(20)]
    # without an intercept there are dim unknowns in a row, not dim + 1; the energy is estimated
    # to about 5% in each of 20 runs
    assert sum(told) / 20 == pytest.approx(sum(made) / 20 / energy, rel=0.1)


def test_the_bound_of_a_wide_and_short_sample_is_the_known_figure():
    # d = 768, N = 20,000, theta dt = .05: 119% by the bound of continuous observation, and with
    # e^-.05 for a step 124%; by the same formula at a smaller d and N in proportion
    dim, decay = 96, math.exp(-0.05)
    found = Identifiability.of(moments(dim, 25, 101, decay))
    exact = math.sqrt((1 - decay**2) * (dim + 1) / 2500) / (1 - decay)
    assert exact == pytest.approx(1.245, abs=0.01)
    # the energy is the difference of two numbers of its own size, known to 10% or so
    assert found.error == pytest.approx(exact, rel=0.25)
    assert found.poor


def test_advice_is_given_where_it_is_needed():
    few = Identifiability(768, 20_000, 1.25)
    assert "125%" in str(few)
    assert "pca:122" in str(few)
    assert "125,000 transitions" in str(few)
    assert few.needed == 125_000
    enough = Identifiability(8, 20_000, 0.05)
    assert str(enough).endswith("5% of the drift itself.")


def test_more_directions_than_transitions_have_no_drift_at_all():
    found = Identifiability.of(moments(30, 5, 6, 0.5))
    assert found.error == math.inf
    assert found.needed is None
    assert "25 transitions" in str(found)
    assert "pca:" not in str(found)


def test_a_random_walk_has_no_drift_to_be_known():
    block = Trajectories.from_states(torch.randn(50, 40, 5, generator=generator(1)).cumsum(1), 1.0)
    assert Identifiability.of(Moments.of(block, times_of(block))).error > 0.5
