import math

import pytest
import torch
from torch.testing import assert_close

from sdelens.errors import BadNumbers
from sdelens.estimation import optimise
from sdelens.estimation.optimise import ParameterGroup, Schedule, evaluate, minimise
from sdelens.paths.stacked import StackedPaths
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import ignore_epoch


def paths(seed=0):
    random = torch.Generator().manual_seed(seed)
    return Trajectories.from_states(torch.randn(20, 11, 1, generator=random) + 3, 1.0)


def members(*values):
    return torch.tensor(values)[:, None]


def losses_of(parameter):
    def losses(batch):
        return {"diffusion": (batch.following[None, :, 0] - parameter).square().mean(-1)}

    return losses


SCHEDULE = Schedule(epochs=20, batch=32, rate=0.1, weight_decay=0.0, least_steps=0)


def run(parameter, schedule=SCHEDULE, losses=None, watch=lambda _: None):
    losses = losses or losses_of(parameter)
    groups = [ParameterGroup([parameter], decays=False)]
    return minimise(groups, losses, paths(), paths(1), schedule, seed=0, watch=watch)


def test_it_finds_the_minimum():
    parameter = members(0.0)
    run(parameter)
    # the mean of 200 draws with standard deviation 1
    assert abs(float(parameter[0, 0]) - 3) < 4 / math.sqrt(200)
    assert not parameter.requires_grad


def test_members_do_not_see_each_other():
    together, alone = members(0.0, 1.0), members(1.0)
    run(together)
    run(alone)
    assert_close(together[1:], alone)


def test_the_best_values_on_validation_are_kept_and_not_the_last(monkeypatch):
    monkeypatch.setattr(optimise, "SLACK", 0.0)
    parameter = members(0.0)
    found = []

    def watch(epoch):
        found.append((epoch.validation["diffusion"], parameter.detach().clone()))

    # far too fast: it jumps about, and the last values are not the best
    run(parameter, Schedule(epochs=12, batch=32, rate=3.0, least_steps=0), watch=watch)
    loss, best = min(found, key=lambda pair: pair[0])
    assert_close(parameter, best)
    scores = evaluate(losses_of(parameter), paths(1), 32)
    assert float(scores["diffusion"][0]) == pytest.approx(loss)


def test_small_data_are_gone_through_until_the_steps_are_made():
    [history] = run(members(0.0), Schedule(epochs=2, batch=100, least_steps=10))
    assert len(history) == 5  # 200 transitions are two batches
    assert {epoch.planned for epoch in history} == {5}
    assert [epoch.number for epoch in history] == [1, 2, 3, 4, 5]


def test_of_epochs_that_validation_does_not_tell_apart_the_last_is_kept(monkeypatch):
    monkeypatch.setattr(optimise, "SLACK", 1e6)
    parameter = members(0.0)
    run(parameter, Schedule(epochs=12, batch=32, rate=3.0, least_steps=0), watch=ignore_epoch)
    settled = parameter.clone()
    last = []
    parameter = members(0.0)

    def watch(epoch):
        last.append(parameter.detach().clone())

    run(parameter, Schedule(epochs=12, batch=32, rate=3.0, least_steps=0), watch=watch)
    assert_close(settled, last[-1])


@pytest.mark.parametrize("batch", [32, 100, 200])
def test_training_on_little_data_stops_when_validation_stops_improving(batch):
    # 200 noisy labels of 60 weights: the best fit to them is worse than the truth, a zero
    random = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(400, 60, generator=random), torch.randn(400, generator=random)
    states = torch.cat([inputs[:, None], labels[:, None, None].expand(-1, 1, 60)], 1)
    train, held = (Trajectories.from_states(part, 1.0) for part in states.split(200))
    weights = torch.zeros(1, 60)

    def losses(batch):
        return {"diffusion": (batch.following[:, 0] - batch.x @ weights[0]).square().mean()[None]}

    schedule = Schedule(epochs=10, batch=batch, rate=4e-3)
    groups = [ParameterGroup([weights])]
    [history] = minimise(groups, losses, train, held, schedule, seed=0, watch=ignore_epoch)
    found = [epoch.validation["diffusion"] for epoch in history]
    batches = math.ceil(200 / batch)
    waited = max(5, math.ceil(100 / batches))
    assert history[0].planned == math.ceil(2000 / batches)
    assert len(found) <= 1 + found.index(min(found)) + waited + 5
    assert found[-1] < 1.5 * found[0]


def test_the_history_of_a_member_ends_when_it_stops_and_is_its_own(monkeypatch):
    monkeypatch.setattr(optimise, "SLACK", 0.0)
    parameter = members(0.0, 3.0)
    schedule = Schedule(epochs=20, batch=32, rate=0.02, least_steps=0, patience=2)
    seen = []
    far, near = run(parameter, schedule, watch=seen.append)
    [alone] = run(members(3.0), schedule)
    # the second starts where it should end, and waits no longer than it must
    assert len(near) < len(far) == len(seen)
    assert [epoch.validation["diffusion"] for epoch in near] == pytest.approx(
        [epoch.validation["diffusion"] for epoch in alone], rel=1e-6
    )
    both = [far[0].train["diffusion"], near[0].train["diffusion"]]
    assert seen[0].train["diffusion"] == pytest.approx(sum(both) / 2)


def test_divergence_is_an_error_that_says_what_to_do_and_keeps_the_best():
    parameter = members(2.5)
    calls = 0

    def losses(batch):
        nonlocal calls
        calls += 1
        bad = math.nan if calls > 40 else 1.0
        return {"diffusion": losses_of(parameter)(batch)["diffusion"] * bad}

    with pytest.raises(BadNumbers, match=r"diverged in epoch \d+.*probe.rate"):
        run(parameter, losses=losses)
    assert parameter.isfinite().all()
    assert abs(float(parameter[0, 0]) - 3) < 0.6


def test_the_learning_rate_rises_and_falls_to_zero():
    schedule = Schedule(warmup=0.1)
    assert schedule.scale(0.05) == pytest.approx(0.5)
    assert schedule.scale(0.1) == pytest.approx(1)
    assert schedule.scale(1.0) == pytest.approx(0, abs=1e-9)


def test_two_runs_end_with_the_same_bytes_and_leave_the_global_random_state_alone():
    state = torch.random.get_rng_state()
    one, other = members(0.0), members(0.0)
    run(one)
    run(other)
    assert torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_members_with_data_of_their_own_are_those_that_are_fitted_alone():
    data = (paths(2), paths(3))

    def fit(parameter, number):
        minimise(
            [ParameterGroup([parameter], decays=False)],
            lambda b: {"diffusion": (b.following[..., 0] - parameter).square().mean(-1)},
            StackedPaths(data[number : number + 1]),
            StackedPaths((paths(1),)),
            SCHEDULE,
            seed=[number],
            watch=lambda _: None,
        )
        return parameter

    alone = torch.cat([fit(members(0.0), 0), fit(members(0.0), 1)])
    together = members(0.0, 0.0)
    minimise(
        [ParameterGroup([together], decays=False)],
        lambda batch: {"diffusion": (batch.following[..., 0] - together).square().mean(-1)},
        StackedPaths(data),
        StackedPaths((paths(1), paths(1))),
        SCHEDULE,
        seed=[0, 1],
        watch=lambda _: None,
    )
    assert_close(together, alone, atol=1e-6, rtol=1e-6)
    assert abs(float(together[0] - together[1])) > 1e-3


def test_an_epoch_of_a_stack_ends_with_the_member_of_fewest_transitions():
    few = Trajectories.from_states(torch.randn(3, 11, 1), 1.0)
    batches = list(StackedPaths((paths(), few)).transitions(16, (0, 1)))
    assert [tuple(batch.x.shape) for batch in batches] == [(2, 16, 1), (2, 14, 1)]
