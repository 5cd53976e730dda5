"""Sums of products over transitions: the same in any blocks, of what is there only."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from sdelens.errors import BadNumbers
from sdelens.estimation.additive import (
    Moments,
    times_of,
)
from sdelens.paths.trajectories import NO_TOKEN
from tests.core.estimation.tokens import (
    DIM,
    in_parts,
    moments_of,
    one_hot,
    paths,
)

SUMS = ("xx", "xy", "yy", "position_count", "position_x", "position_y")


TOKEN_SUMS = ("token_position", "token_x", "token_y")


@pytest.mark.parametrize("seed", range(3))
def test_blocks_in_any_order_have_the_moments_of_one_block(seed):
    block = paths(tokens=(0, 40))
    whole = moments_of(block)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(seed)).tolist()
    streamed = Moments.of(in_parts(block, order), whole.times)
    assert streamed.count == whole.count == int(block.steps.sum())
    assert torch.equal(streamed.tokens, whole.tokens)
    for name in SUMS + TOKEN_SUMS:
        assert_close(getattr(streamed, name), getattr(whole, name), rtol=1e-12, atol=1e-12)


def test_the_same_blocks_have_the_same_bytes():
    parts = in_parts(paths(), range(12))
    first, second = (Moments.of(parts, times_of(parts)) for _ in range(2))
    assert all(torch.equal(getattr(first, n), getattr(second, n)) for n in SUMS + TOKEN_SUMS)


def test_rows_of_tokens_hold_the_sums_of_their_own_transitions():
    block = paths(tokens=(0, 40))
    moments, step = Moments.of(in_parts(block, reversed(range(12))), times_of(block)), block.flat()
    for row, token in enumerate(moments.tokens):
        mine = step.token == token
        assert_close(moments.token_x[row], step.x[mine].double().sum(0))
        assert_close(moments.token_y[row], step.following[mine].double().sum(0))
        counts = one_hot(step.t[mine], moments.times).sum(0)
        assert torch.equal(moments.token_position[row], counts)


@pytest.mark.parametrize("seed", range(5))
def test_paths_with_holes_have_the_moments_of_their_transitions(seed):
    block, random = paths(tokens=(0, 9)), torch.Generator().manual_seed(seed)
    mask = torch.rand(block.mask.shape, generator=random) < 0.7
    mask[0] = True
    states = block.states.where(mask[..., None], torch.nan)
    times = block.times + (torch.randint(0, 2, (12, 1), generator=random) * 2)
    block = replace(block, mask=mask, states=states, times=times)
    block.tokens[::3] = NO_TOKEN
    whole = moments_of(block)
    one_by_one = Moments(DIM, whole.times)
    one_by_one.add(block.flat())
    assert whole.count == one_by_one.count == int(block.steps.sum())
    assert NO_TOKEN not in whole.tokens
    assert torch.equal(whole.tokens, one_by_one.tokens)
    for name in SUMS + TOKEN_SUMS:
        assert_close(getattr(whole, name), getattr(one_by_one, name), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    block = paths()
    block.states[3, 1, 2] = bad
    with pytest.raises(
        BadNumbers, match="document 3 contains NaN or infinity at its observation 1"
    ):
        moments_of(block)


def test_no_blocks_are_an_error():
    with pytest.raises(ValueError, match="at least one block"):
        Moments.of([], torch.zeros(1))
