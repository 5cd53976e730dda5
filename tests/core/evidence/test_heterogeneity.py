"""Lasting differences between paths are found, measured, and not confused with memory."""

import math
from dataclasses import replace

import pytest
import torch

from sdelens.evidence.heterogeneity import heterogeneity
from sdelens.evidence.lagged import lagged
from sdelens.evidence.nested import Sides, nested
from sdelens.laws.sde import LinearSDE
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator


def law(rate, dt, variance=0.5):
    """A one-dimensional Ornstein-Uhlenbeck process around 0."""
    slope = math.exp(-rate * dt)
    noise = variance * (1 - slope**2)
    return LinearSDE.from_step(
        torch.tensor([[slope]]), torch.zeros(1), torch.tensor([[noise]]), dt
    )


def paths(rates, levels, dt, count=1200, length=60, seed=0):
    """Stationary processes of variance 1/2; path i has the i-th rate and level in turn."""
    kicks = torch.randn(length, count, 1, generator=generator(seed))
    turn = torch.arange(count) % len(rates)
    rate, level = torch.tensor(rates)[turn, None], torch.tensor(levels)[turn, None]
    slope = (-rate * dt).exp()
    states = [level + math.sqrt(0.5) * kicks[0]]
    for kick in kicks[1:]:
        noise = (0.5 * (1 - slope**2)).sqrt() * kick
        states.append(level + slope * (states[-1] - level) + noise)
    return torch.stack(states, dim=1)


def differences(states, fitted, dt):
    cut = len(states) // 5
    starts = 0, 3 * cut, 4 * cut
    parts = states[: 3 * cut], states[3 * cut : 4 * cut], states[4 * cut :]
    rows = []
    for number, part in enumerate(parts):
        block = Trajectories.from_states(part, dt)
        block = replace(block, document=block.document + starts[number])
        rows.append(lagged(fitted, block, torch.arange(len(states))))
    sides = Sides(*rows, groups=len(states))
    found = nested([sides])
    return heterogeneity(rows, found.standard, len(states), thresholds=(0.0, 0.0), tolerance=0.01)


@pytest.mark.parametrize("dt", [0.02, 0.1, 1.0])
def test_equal_paths_do_not_differ_at_any_sampling_interval(dt):
    for effect in differences(paths([1.0], [0.0], dt), law(1.0, dt), dt):
        assert abs(effect.value) < 3.5 * effect.stderr
        assert not effect.shown


def test_levels_that_differ_are_found_with_what_knowing_them_is_worth():
    dt, spread = 0.3, 0.5
    level, slope, _ = differences(
        paths([1.0, 1.0], [spread, -spread], dt), law(1.0, dt, variance=0.5), dt
    )
    rate = 1 - math.exp(-dt)
    # the residual has the mean (1 - a) m_i around the law's; the pooled slope absorbs a part
    pooled = 0.5 * (1 - math.exp(-2 * dt))
    most = 0.5 * (rate * spread) ** 2 / pooled
    assert level.shown
    assert 0.3 * most < level.value < 1.1 * most
    assert level.value > 3 * abs(slope.value)


def test_rates_that_differ_are_found_with_what_knowing_them_is_worth():
    dt = 0.3
    level, slope, _ = differences(paths([0.5, 2.0], [0.0, 0.0], dt), law(1.0, dt), dt)
    slow, fast = math.exp(-0.5 * dt), math.exp(-2 * dt)
    noise = 0.5 * (1 - (slow**2 + fast**2) / 2)
    worth = 0.5 * ((slow - fast) / 2) ** 2 * 0.5 / noise
    assert slope.shown
    assert slope.value == pytest.approx(worth, abs=4 * slope.stderr + 0.15 * worth)
    assert not level.shown


def test_short_memory_is_no_lasting_difference():
    kicks = torch.randn(60, 1200, 1, generator=generator(3))
    states, force = [kicks[0]], kicks[0]
    for kick in kicks[1:]:
        force = 0.6 * force + kick
        states.append(0.5 * states[-1] + force)
    effects = differences(torch.stack(states, dim=1), law(0.5, 1.0, variance=2.0), 1.0)
    assert not any(effect.shown for effect in effects)


def test_noise_that_differs_is_found_with_what_knowing_it_is_worth():
    kicks = torch.randn(60, 1200, 1, generator=generator(4))
    size = torch.where(torch.arange(1200) % 2 == 0, 0.8, 1.2)[:, None]
    states = [kicks[0]]
    for kick in kicks[1:]:
        states.append(0.5 * states[-1] + size * kick)
    level, slope, noise = differences(torch.stack(states, dim=1), law(0.7, 1.0), 1.0)
    variances = torch.tensor([0.8, 1.2]).square()
    worth = 0.25 * float((variances / variances.mean()).var(correction=0))
    assert noise.shown
    # part of it shows in the current state already
    assert 0.5 * worth < noise.value < 1.1 * worth
    assert not level.shown
    assert not slope.shown
