import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdelens.errors import BadNumbers
from sdelens.paths.trajectories import (
    NO_TOKEN,
    MappedPaths,
    Paths,
    Trajectories,
    Transitions,
    require_finite,
    shuffled,
    step_of,
)


def ragged(starts, lengths, first_document=0, width=None):
    """Paths observed from `start` on, whose states say which document and position they are of."""
    width = width or max(map(sum, zip(starts, lengths, strict=True)))
    time = torch.arange(width)
    paths = len(starts)
    begin, end = torch.tensor(starts)[:, None], torch.tensor(lengths)[:, None]
    document = torch.arange(first_document, first_document + paths)
    place = time.expand(paths, width)
    states = torch.stack([document[:, None].expand(paths, width), place], dim=-1).float()
    return Trajectories(
        states=states,
        mask=(time >= begin) & (time < begin + end),
        times=time[None].float(),
        tokens=document[:, None] * 1000 + place,
        document=document,
    )


def steps_of(batches):
    """(document, position) of each step, once per time that it was seen."""
    return [tuple(map(int, x)) for batch in batches for x in batch.x]


def expected_steps(block):
    return [
        (int(block.document[path]), time)
        for path in range(len(block.mask))
        for time in range(block.mask.shape[1] - 1)
        if block.mask[path, time] and block.mask[path, time + 1]
    ]


shapes = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=1, max_size=5)


@given(
    blocks=st.lists(shapes, min_size=1, max_size=11),
    size=st.integers(1, 20),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_shuffled_batches_cover_each_observed_transition_once(blocks, size, seed):
    paths = [
        ragged(*zip(*b, strict=True), first_document=10 * i, width=9) for i, b in enumerate(blocks)
    ]
    batches = list(shuffled(paths, size, seed))
    wanted = [step for block in paths for step in expected_steps(block)]
    assert sorted(steps_of(batches)) == sorted(wanted)
    sizes = [len(batch.t) for batch in batches]
    assert all(n == size for n in sizes[:-1])
    assert all(0 < n <= size for n in sizes)


def test_a_transition_has_its_own_time_token_and_next_state():
    block = ragged([0, 2, 1], [4, 3, 1])
    for batch in block.transitions(2, seed=0):
        assert torch.equal(batch.following, batch.x + torch.tensor([0.0, 1.0]))
        assert torch.equal(batch.t, batch.x[:, 1])
        assert torch.equal(batch.token, (1000 * batch.x[:, 0] + batch.x[:, 1]).long())


def test_the_seed_fixes_the_order():
    block = ragged([0] * 4, [9] * 4)
    first, again, other = (steps_of(block.transitions(5, seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first != sorted(first)


def test_flat_is_in_order_and_leaves_out_what_is_masked():
    block = ragged([0, 1, 3], [3, 4, 1])
    assert isinstance(block.flat(), Transitions)
    assert steps_of([block.flat()]) == [(0, 0), (0, 1), (1, 1), (1, 2), (1, 3)]
    assert block.steps.sum() == 5


def test_times_may_differ_from_path_to_path():
    block = ragged([0, 0], [3, 3])
    own = Trajectories(
        block.states,
        block.mask,
        block.times + torch.tensor([[0.0], [10.0]]),
        block.tokens,
        block.document,
    )
    assert own.flat().t.tolist() == [0, 1, 10, 11]
    assert own.select([1]).flat().t.tolist() == [10, 11]


def test_from_states_observes_every_path_at_all_times():
    block = Trajectories.from_states(torch.zeros(3, 5, 2), dt=0.05)
    assert block.mask.all()
    assert block.document.tolist() == [0, 1, 2]
    assert (block.tokens == NO_TOKEN).all()
    torch.testing.assert_close(block.times, torch.tensor([[0.0, 0.05, 0.10, 0.15, 0.20]]))


def test_a_block_is_paths_of_one_block():
    block = ragged([0], [3])
    assert isinstance(block, Paths)
    assert [same is block for same in block] == [True]


def test_select_keeps_the_stored_order_and_what_is_asked_for():
    block = ragged([0] * 4, [3] * 4, first_document=7)
    assert block.select([9, 7, 7, 99]).document.tolist() == [7, 9]
    assert block.select([]).states.shape == (0, 3, 2)
    assert list(block.select([]).transitions(4, seed=0)) == []


def doubled(block):
    return Trajectories(2 * block.states, block.mask, block.times, block.tokens, block.document)


def test_mapped_paths_are_seen_through_the_function_as_often_as_asked():
    block = ragged([0] * 4, [3] * 4)
    mapped = MappedPaths(block, doubled)
    assert isinstance(mapped, Paths)
    for _ in range(2):
        [seen] = mapped
        assert torch.equal(seen.states, 2 * block.states)
    [chosen] = mapped.select([2])
    assert torch.equal(chosen.states, 2 * block.states[2:3])
    original = {(2 * d, 2 * t) for d, t in steps_of(block.transitions(3, seed=1))}
    assert set(steps_of(mapped.transitions(3, seed=1))) == original


def test_a_state_that_is_not_finite_is_an_error_that_names_its_document():
    block = ragged([0, 0], [3, 3], first_document=40)
    block.states[1, 2, 0] = torch.nan
    with pytest.raises(
        BadNumbers,
        match=r"document 41 contains NaN or infinity at its observation 2 \(time 2, coordinate 0",
    ):
        require_finite(block)
    block.states[1, 2, 0] = torch.inf
    with pytest.raises(BadNumbers, match="document 41"):
        require_finite(block)


def test_padding_may_hold_anything():
    block = ragged([0, 0], [3, 2])
    block.states[1, 2] = torch.nan
    assert require_finite(block) is block


@pytest.mark.parametrize("dt", [1.0, 0.05, 0.1, 1e-3, 7.25])
@pytest.mark.parametrize("length", [2, 200, 100_000])
def test_the_step_is_found_to_the_digits_of_float32(dt, length):
    times = Trajectories.from_states(torch.zeros(1, length, 1), dt).times
    assert step_of(times) == dt


@pytest.mark.parametrize(
    "times", [[0.0, 1.0, 3.0], [0.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, 1.0, 1.99]]
)
def test_times_that_do_not_increase_evenly_are_an_error_that_shows_them(times):
    shown = ", ".join(f"{t:.6g}" for t in times)
    with pytest.raises(BadNumbers, match=f"equal steps, got {shown}"):
        step_of(torch.tensor([times]))


def test_one_observation_has_no_step():
    with pytest.raises(BadNumbers, match="at least two observations"):
        step_of(torch.zeros(1, 1))
