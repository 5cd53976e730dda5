from dataclasses import replace

import pytest
import torch

from sdelens.models import language_model
from sdelens.protocols import Pass
from sdelens.states.reference import reference_states, reference_tokens, same_states
from tests.small import small_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return language_model(small_model(tmp_path_factory.mktemp("models") / "small"), device="cpu")


class Changed:
    """A model with a function applied to the states of its last block."""

    def __init__(self, model, change):
        self.model, self.card, self.device, self.change = model, model.card, model.device, change
        self.library, self.encode, self.decode = "", model.encode, model.decode
        self.hooked, self.untrained = model.hooked, model.untrained

    def run(self, tokens, *, read):
        reads = dict(self.model.run(tokens, read=read).reads)
        return Pass(reads | {read[-1]: self.change(reads[read[-1]])})


def changes(model, change):
    pairs = zip(reference_states(model), reference_states(Changed(model, change)), strict=True)
    return [torch.tensor(two) - torch.tensor(one) for one, two in pairs]


def test_the_numbers_are_the_same_in_every_use_and_leave_the_random_state_alone(model):
    before = torch.random.get_rng_state()
    assert reference_states(model) == reference_states(model)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert len(reference_states(model)) == model.card.blocks


def test_the_tokens_are_different_ids_of_the_vocabulary(model):
    tokens = reference_tokens(model)
    assert len(tokens.unique()) == tokens.numel() == min(32, model.card.context)
    assert int(tokens.min()) >= 0
    assert int(tokens.max()) < model.card.vocabulary


@pytest.mark.parametrize("size", [1e-2, 1e-3, 1e-4])
def test_a_relative_change_of_the_states_changes_the_numbers_by_as_much(model, size):
    def change(states):
        random = torch.Generator().manual_seed(0)
        noise = torch.randn(states.shape, generator=random)
        return states + size * states.norm(dim=-1, keepdim=True) * noise / states.shape[-1] ** 0.5

    *earlier, last = changes(model, change)
    assert all(bool((each == 0).all()) for each in earlier)
    # four normal numbers of standard deviation `size`: 0.01 to 4.3 are 99.99% of chi / 2
    assert 0.1 * size < float(last.square().mean().sqrt()) < 2.5 * size


@pytest.mark.parametrize(
    "change",
    [lambda x: 2 * x, lambda x: x + 1e-2, lambda x: x.flip(1), lambda x: 0 * x],
    ids=["scaled", "shifted", "reversed", "zero"],
)
def test_other_states_are_told_apart_and_rounding_is_not(model, change):
    one = reference_states(model)
    assert not same_states(one, reference_states(Changed(model, change)), "float32")
    rounded = Changed(model, lambda x: x * (1 + 1e-6 * torch.randn(x.shape)))
    assert same_states(one, reference_states(rounded), "float32")


def test_half_precision_has_a_tolerance_of_its_own(model):
    other = reference_states(Changed(model, lambda x: x * (1 + 1e-3)))
    assert not same_states(reference_states(model), other, "float32")
    assert same_states(reference_states(model), other, "bfloat16")


def test_a_model_with_other_blocks_or_unknown_states_is_not_the_same(model):
    one = reference_states(model)
    assert not same_states(one, one[:-1], "float32")
    assert reference_states(Changed(model, lambda states: states / 0)) == ()
    assert not same_states((), (), "float32")
    short = Changed(model, None)
    short.card = replace(model.card, context=8)
    assert reference_tokens(short).shape == (1, 8)
