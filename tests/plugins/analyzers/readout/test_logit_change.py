"""What changes of a state say, where it is known."""

import pytest
import torch

from sdelens.language.patching import last_site, laws_of_variants, patched_laws
from sdelens.language.texts import Places
from sdelens.origin import ModelCard
from sdelens.protocols import Pass, Site
from sdelens.seeds import generator
from sdelens_plugins.analyzers.readout.logit_change import logit_change, logit_changes
from sdelens_plugins.analyzers.readout.pushes import isotropic, leading_directions, with_length_of


def patched(*given, **settings):
    return torch.cat([*patched_laws(*given, **settings)])


def places(model, site, tokens, at):
    states = model.run(tokens, read=[site]).reads[site]
    rows = torch.arange(len(tokens))
    return Places(tokens, torch.tensor(at), states[rows, torch.tensor(at)], rows)


class Lookup:
    """A model of one block whose logits are the products of the state with rows of a matrix."""

    library, device = "", torch.device("cpu")

    def hooked(self):
        return False

    def __init__(self, matrix):
        self.matrix = matrix
        self.card = ModelCard(
            "lookup", "", "", "raw", "float32", 1, 8, 64, len(matrix), None, None
        )

    def encode(self, text):
        return [int(word) for word in text.split()]

    def decode(self, ids):
        return [f" {number}" for number in ids]

    def untrained(self, seed):
        return Lookup(torch.randn(self.matrix.shape, generator=generator(seed)))

    def run(self, tokens, *, read=(), edit=None, past=None, keep=False, logits=False):
        value = self.matrix[tokens]
        for change in (edit or {}).values():
            value = change(value)
        return Pass({}, value @ self.matrix.mT)


@pytest.mark.parametrize("site", [Site("embed"), Site("block", 0), Site("block", 2)], ids=str)
def test_a_state_put_in_its_own_place_changes_nothing(model, tokens, site):
    own = model.run(tokens, read=[site]).reads[site]
    laws = patched(model, site, tokens, own[:, -4:])
    plain = model.run(tokens, logits=True).logits.log_softmax(-1)
    assert torch.allclose(laws, plain[:, -4:], atol=1e-4)
    one = patched(model, site, tokens, own[:, -1:])
    assert torch.allclose(one, plain[:, -1:], atol=1e-4)


def test_tokens_whose_states_are_replaced_make_no_difference(model, tokens):
    site = Site("block", 1)
    own = model.run(tokens, read=[site]).reads[site][:, -3:]
    other = tokens.clone()
    other[:, -3:] = 5
    assert torch.allclose(
        patched(model, site, tokens, own),
        patched(model, site, other, own),
        atol=1e-4,
    )


def test_batches_do_not_change_the_laws(model, tokens):
    site = Site("block", 1)
    own = model.run(tokens, read=[site]).reads[site][:, -2:]
    alone = patched(model, site, tokens, own, batch_tokens=1)
    assert torch.allclose(alone, patched(model, site, tokens, own), atol=1e-4)


def test_variants_of_a_state_have_the_laws_of_whole_passes(model, tokens):
    site = Site("block", 1)
    states = torch.randn(7, 16, generator=generator(6))
    text = tokens[0, :5]
    shared = torch.cat([*laws_of_variants(model, site, text, states)])
    whole = patched(model, site, text.expand(7, -1), states[:, None])[:, 0]
    assert torch.allclose(shared, whole, atol=1e-4)


def test_the_beginning_of_a_text_is_read_once_for_all_variants(model, tokens):
    class Counting:
        def __init__(self):
            self.tokens = 0

        def __getattr__(self, name):
            return getattr(model, name)

        def run(self, tokens, **settings):
            self.tokens += tokens.numel()
            return model.run(tokens, **settings)

    counting = Counting()
    text, states = tokens[0, :6], torch.randn(20, 16, generator=generator(6))
    list(laws_of_variants(counting, Site("block", 1), text, states))
    assert counting.tokens == 5 + 20


def test_an_embedding_is_decoded_to_its_own_token():
    # rows of equal length: each is nearest to itself
    matrix = torch.nn.functional.normalize(torch.randn(20, 64, generator=generator(1)), dim=-1)
    tokens = torch.arange(6).reshape(2, 3)
    wanted = torch.tensor([[7, 8], [9, 10]])
    laws = patched(Lookup(matrix), Site("embed"), tokens, 9 * matrix[wanted])
    assert torch.equal(laws.argmax(-1), wanted)


def test_no_push_raises_no_word_and_ranks_in_the_middle(model, tokens):
    site = Site("block", 1)
    at = places(model, site, tokens, [3, 8, 5])
    found = logit_change(model, site, at, torch.zeros(3, 5, 16), words=4)
    assert found.kl.max() < 1e-6
    assert found.raised_by.abs().max() < 1e-4
    null = logit_change(
        Lookup(torch.eye(model.card.vocabulary)[:, :16]), site, at, torch.zeros(3, 5, 16), words=4
    )
    assert torch.equal(null.rank(0, slice(1, 5)), torch.full((3,), 0.5, dtype=torch.float64))


def test_a_push_along_an_embedding_raises_its_word_most():
    matrix = torch.eye(8)
    row = torch.zeros(1, dtype=torch.long)
    at = Places(row[:, None].expand(1, 2), row + 1, torch.zeros(1, 8), row)
    push = torch.zeros(1, 2, 8)
    push[0, 0, 3], push[0, 1, 6] = 2.0, -1.0
    targets = torch.tensor([[3, -1]])
    found = logit_change(Lookup(matrix), Site("block", 0), at, push, words=1, targets=targets)
    assert found.raised[0, 0, 0] == 3
    assert found.lowered[0, 1, 0] == 6
    # logits 2 e_3, centred over eight words
    assert found.raised_by[0, 0, 0] == pytest.approx(2 - 2 / 8)
    assert found.lowered_by[0, 1, 0] == pytest.approx(-1 + 1 / 8)
    normal = torch.tensor(7 + torch.e**2).log()
    assert found.gain[0, 0, 0] == pytest.approx(float(2 - normal + torch.tensor(8.0).log()))
    assert found.gain[0, 0, 1].isnan()
    expected = float(normal - torch.tensor(8.0).log() - 2 / 8)
    assert found.kl[0, 0] == pytest.approx(expected, abs=1e-6)


def test_words_may_be_ranked_by_probability():
    before = torch.tensor([[[0.5, 0.4, 0.1 - 1e-6, 1e-6]]]).log()
    after = torch.tensor([[[0.3, 0.6, 0.1 - 1e-3, 1e-3]]]).log()
    none = torch.full((1, 0), -1)
    assert logit_changes(before, after, 1, "logit", none).raised.item() == 3
    chosen = logit_changes(before, after, 1, "probability", none)
    assert chosen.raised.item() == 1
    assert chosen.raised_by.item() == pytest.approx(0.2, abs=1e-6)
    assert chosen.lowered.item() == 0


def test_only_the_state_at_the_place_is_changed(model, tokens):
    site = Site("block", 0)
    at = places(model, site, tokens, [4, 4, 8])
    push = torch.randn(3, 1, 16, generator=generator(2))
    found = logit_change(model, site, at, push, words=3)

    def edit(value):
        value = value.clone()
        value[torch.arange(3), at.at] += push[:, 0]
        return value

    rows = torch.arange(3)
    law = model.run(tokens, edit={site: edit}, logits=True).logits.log_softmax(-1)[rows, at.at]
    plain = model.run(tokens, logits=True).logits.log_softmax(-1)[rows, at.at]
    kl = (plain.double().exp() * (plain - law).double()).sum(-1)
    assert torch.allclose(found.kl[:, 0], kl, rtol=1e-3, atol=1e-5)


def test_at_the_last_block_the_tokens_before_do_not_matter(model, tokens):
    site = last_site(model)
    at = places(model, site, tokens, [2, 7, 8])
    push = torch.randn(3, 2, 16, generator=generator(3))
    whole, alone = (logit_change(model, site, p, push, words=3) for p in (at, at.alone()))
    assert torch.allclose(whole.kl, alone.kl, rtol=1e-3, atol=1e-5)


def test_random_directions_are_as_long_as_the_push():
    push = torch.randn(5, 8, generator=generator(4))
    null = with_length_of(push, isotropic(5, 7, 8, seed=0))
    assert torch.allclose(null.norm(dim=-1), push.norm(dim=-1)[:, None].expand(5, 7), rtol=1e-5)
    assert with_length_of(torch.zeros(5, 8), null).abs().max() == 0


@pytest.mark.parametrize("shared", [True, False])
def test_leading_directions_are_those_of_the_covariance(shared):
    root = torch.linalg.qr(torch.randn(6, 6, generator=generator(5))).Q
    values = torch.tensor([9.0, 4.0, 1.0, 0.5, 0.2, 0.1])
    covariance = (root * values) @ root.mT
    many = covariance.expand(3, 6, 6) if shared else covariance.repeat(3, 1, 1)
    found = leading_directions(many, 2)
    assert found.shape == (3, 2, 6)
    assert torch.allclose(found.norm(dim=-1), torch.tensor([3.0, 2.0]).expand(3, 2), atol=1e-4)
    along = (found[0] @ root[:, :2]).abs()
    assert torch.allclose(along, torch.diag(torch.tensor([3.0, 2.0])), atol=1e-3)
