"""Words from states, where the words are known."""

import math

import pytest
import torch

from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Site
from sdelens.seeds import generator
from sdelens.states.distinct_n import distinct_n
from sdelens_plugins.analyzers.generate.decode_states import (
    continue_texts,
    decode_states,
    nearest_words,
    training_states,
    word_surprisal,
)
from tests.spoken import small_bridge


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small_bridge(tmp_path_factory.mktemp("m"))


IDS = torch.tensor([[0, 5, 17, 40, 3]])


def test_the_likeliest_continuation_is_that_of_whole_passes(model):
    found = continue_texts(model, IDS, steps=6)[0]
    ids = IDS[0].tolist()
    for word in found.tolist():
        law = model.run(torch.tensor([ids]), logits=True).logits[0, -1]
        assert word == int(law.argmax())
        ids.append(word)


@pytest.mark.parametrize("site", [Site("embed"), Site("block", 0), Site("block", 2)], ids=str)
def test_the_models_own_states_say_its_own_words(model, site):
    words = continue_texts(model, IDS, steps=6)
    states = model.run(torch.cat([IDS, words], dim=1), read=[site]).reads[site]
    found = decode_states(model, site, IDS, states[:, IDS.shape[1] - 1 : -1])
    assert torch.equal(found, words)


def test_drawn_words_have_the_models_frequencies(model):
    law = model.run(IDS, logits=True).logits[0, -1].softmax(-1)
    rows = 4000
    found = continue_texts(model, IDS.expand(rows, -1), steps=1, temperature=1.0, seed=1)[:, 0]
    word = int(law.argmax())
    share, p = float((found == word).double().mean()), float(law[word])
    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / rows)


def test_nats_are_those_of_one_pass(model):
    words = continue_texts(model, IDS.expand(3, -1), steps=4, temperature=1.0, seed=2)
    whole = torch.cat([IDS.expand(3, -1), words], dim=1)
    laws = model.run(whole, logits=True).logits.log_softmax(-1)
    expected = -laws[:, 4:-1].gather(-1, words[..., None])[..., 0]
    assert torch.allclose(word_surprisal(model, IDS.expand(3, -1), words), expected, atol=1e-4)


def test_distinct_counts_runs():
    assert distinct_n(torch.tensor([1, 2, 3, 4]), 1) == 1
    assert distinct_n(torch.tensor([1, 1, 1, 1]), 1) == 0.25
    assert distinct_n(torch.tensor([1, 2, 1, 2, 1]), 2) == 0.5
    assert math.isnan(distinct_n(torch.tensor([1]), 2))


def test_a_training_state_is_nearest_to_itself():
    block = Trajectories.from_states(torch.randn(4, 6, 3, generator=generator(3)), 1.0)
    block = Trajectories(
        block.states,
        torch.arange(6).lt(5).expand(4, -1),
        block.times,
        torch.arange(24).reshape(4, 6),
        block.document,
    )
    known, tokens = training_states(block, states=18)
    assert len(known) == 18
    assert not set(tokens.tolist()) & {5, 11, 17, 23}, "padding is no state"
    asked = block.states[:3, :5] + 1e-4
    assert torch.equal(nearest_words(asked, known, tokens), block.tokens[:3, :5])
