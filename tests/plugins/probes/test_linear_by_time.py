"""A linear SDE around a mean that moves with the time."""

import math

import pytest
import torch
from torch.testing import assert_close

import sdelens
from sdelens.dynamics.affine import Affine
from sdelens.laws.sde import LinearSDE
from sdelens.seeds import generator
from sdelens_plugins.probes.linear import LinearProbe

DT, RATE, PATHS, LENGTH = 0.1, 1.3, 4000, 40


def level(t):
    """The moving mean at a time."""
    return 2 * torch.sin(torch.as_tensor(t))


@pytest.fixture(scope="module")
def states():
    """X' = m_t + e^{-rate dt} (X - m_t) + noise: the level is constant over a step."""
    slope, kicks = math.exp(-RATE * DT), torch.randn(LENGTH, PATHS, 1, generator=generator(0))
    noise = math.sqrt((1 - slope**2) / (2 * RATE))
    path = [kicks[0] / math.sqrt(2 * RATE)]
    for step, kick in enumerate(kicks[1:]):
        mean = level(step * DT)
        path.append(mean + slope * (path[-1] - mean) + noise * kick)
    return torch.stack(path, dim=1)


@pytest.fixture(scope="module")
def fitted(states):
    return sdelens.fit(states, dt=DT, probe="linear", by_time=True)


def test_rate_and_level_are_recovered(fitted):
    x, times = torch.zeros(1), [0.5, 1.0, 2.0, 3.0]
    slope = fitted.drift(1.0, x + 1) - fitted.drift(1.0, x)
    # the error of an estimated rate is about sqrt(2 rate / T), T the total time
    assert float(slope) == pytest.approx(-RATE, abs=4 * math.sqrt(2 * RATE / (PATHS * 4 * 0.8)))
    for t in times:
        # a level of one step has the noise of the paths, over the rate times dt
        error = math.sqrt(1 / (DT * PATHS * 0.8)) / RATE
        found = fitted.drift(t, x) / RATE
        assert float(found) == pytest.approx(float(level(t)), abs=5 * error)


def test_one_intercept_misses_the_level(states, fitted):
    plain = sdelens.fit(states, dt=DT, probe="linear")
    scores = [each.record.scores["held_out_nll_per_dim"] for each in (fitted, plain)]
    assert scores[0] < scores[1] - 0.01


def test_the_law_of_a_step_agrees_with_the_drift_at_its_time(fitted):
    sde = fitted.sde
    affine = Affine.of(sde)
    x = torch.randn(5, 1, generator=generator(1))
    for t in (0.0, 1.7, 99.0):  # after the last time its offset stays
        time = torch.full((5,), t)
        mean = sde.transition(time, x).mean
        assert_close(mean, (x.double() @ affine.matrix.mT + affine.offset(time)).float())
        again = LinearSDE.from_step(
            sde.step_matrix, sde.step_offset, sde.step_root @ sde.step_root.mT, DT, sde.times
        )
        assert_close(again.drift(time, x), sde.drift(time, x), rtol=1e-3, atol=1e-4)


def test_the_fit_is_stored_and_restored(fitted):
    law = LinearProbe(density="exact", by_time=True).restore({"dt": DT}, fitted.sde.tensors())
    x = torch.randn(5, 1, generator=generator(2))
    time = torch.full((5,), 2.0)
    assert_close(law.transition(time, x).mean, fitted.sde.transition(time, x).mean)
