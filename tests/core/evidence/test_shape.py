"""Weight of the tails and orientation of the mean, against known truth."""

import pytest
import torch

from sdelens.evidence.lagged import lagged
from sdelens.evidence.nested import Sides, nested
from sdelens.evidence.orientation import orientation
from sdelens.evidence.tail_index import tail_index
from sdelens.laws.sde import LinearSDE
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator


@pytest.mark.parametrize(("alpha", "heavy"), [(1.5, True), (2.5, True), (9.0, False)])
def test_the_tail_index_of_a_power_law_is_recovered(alpha, heavy):
    uniform = torch.rand(60_000, 2, generator=generator(1)).double()
    values = uniform ** (-1 / alpha) * torch.tensor([1.0, -1.0]).double()
    effect = tail_index(values, torch.arange(60_000) % 300, 300)
    assert effect.value == pytest.approx(1 / alpha, abs=4 * effect.stderr)
    assert effect.shown == heavy
    assert effect.absent == (not heavy)


def test_gaussian_tails_are_light():
    values = torch.randn(60_000, 1, generator=generator(2))
    effect = tail_index(values, torch.arange(60_000) % 300, 300)
    assert effect.absent
    # E[log(|w|/u) | |w| > u] at the 99% quantile u = 2.576 of |w|
    assert effect.value == pytest.approx(0.123, abs=4 * effect.stderr)


def reversed_share(step, map_, noise, *, dim, seed=3, use_misfit=True):
    """Share at which the mean of a linear fit, corrected for its misfit, reverses orientation."""
    kicks = torch.randn(40, 500, dim, generator=generator(seed))
    states = [0.3 * kicks[0]]
    for kick in kicks[1:]:
        states.append(map_(states[-1]) + noise * kick)
    x = torch.stack(states[10:], dim=1)
    rows = []
    law = LinearSDE.from_step(step, torch.zeros(dim), torch.eye(dim) * 0.5, 1.0)
    for part in (x[:300], x[300:400], x[400:]):
        rows.append(lagged(law, Trajectories.from_states(part, 1.0), torch.arange(len(part))))
    found = nested([Sides(*rows, groups=300)])
    return orientation(law, rows[2], found.standard if use_misfit else None, 300)


def test_a_map_that_folds_reverses_orientation_where_its_slope_is_negative():
    effect = reversed_share(torch.tensor([[0.5]]), lambda x: 2 * torch.sin(3 * x), 0.3, dim=1)
    assert effect.shown
    assert 0.3 < effect.value < 0.6


def test_a_reflection_reverses_and_a_rotation_does_not():
    half = 0.5 * torch.eye(2)
    turn = torch.tensor([[0.0, -0.9], [0.9, 0.0]])
    mirror = torch.tensor([[0.9, 0.0], [0.0, -0.9]])
    assert reversed_share(half, lambda x: x @ mirror.mT, 0.3, dim=2).value > 0.95
    assert reversed_share(half, lambda x: x @ turn.mT, 0.3, dim=2).value < 0.02


def test_a_coordinate_without_memory_has_no_orientation():
    fade = torch.tensor([[0.8, 0.0], [0.0, -0.01]])
    effect = reversed_share(0.5 * torch.eye(2), lambda x: x @ fade.mT, 0.5, dim=2)
    assert effect.absent


def test_orientation_is_not_asked_for_in_many_dimensions():
    law = LinearSDE.from_step(0.5 * torch.eye(9), torch.zeros(9), torch.eye(9), 1.0)
    block = Trajectories.from_states(torch.randn(20, 8, 9, generator=generator(4)), 1.0)
    assert orientation(law, lagged(law, block, torch.arange(20)), None, 20) is None
