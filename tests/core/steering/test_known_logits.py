"""Steering a table of known logits: what a drift does to the law of the next word."""

import torch

from sdelens.seeds import generator
from sdelens.steering.writer import add_to_last
from tests.core.steering.written import affine, one_step


def test_a_drift_along_known_logits_changes_the_law_as_they_say(table):
    """Where the rest of the network is linear, logits change by a W d."""
    module, model = table
    ids, shift = torch.tensor([[1, 2], [3, 4], [5, 6]]), torch.randn(6, generator=generator(1))
    found, x = one_step(module, model, affine(shift), ids, 0.8)
    before, after = module.out(x).log_softmax(-1), module.out(x + 0.8 * shift).log_softmax(-1)
    expected = (before.exp() * (before - after)).sum(-1)
    assert torch.allclose(found.kl[:, 1].float(), expected, atol=1e-5)
    entropy = -(after.exp() * after).sum(-1)
    assert torch.allclose(found.entropy[:, 1].float(), entropy, atol=1e-5)
    assert torch.allclose(found.size[:, 1], (0.8 * shift).norm().expand(3))


def test_the_divergence_of_a_small_dose_is_half_the_fisher_form(table):
    r"""KL = d'Fd / 2 + O(a^3) with F = W'(diag p - pp')W, whichever way the dose points."""
    module, model = table
    ids, shift = torch.tensor([[1, 2], [3, 4], [5, 6]]), torch.randn(6, generator=generator(2))
    for dose in (1e-2, -1e-2):
        found, x = one_step(module, model, affine(shift), ids, dose)
        p, change = module.out(x).softmax(-1).double(), module.out(dose * shift).double()
        form = (p * change.square()).sum(-1) - (p * change).sum(-1).square()
        # the next term is a third cumulant over 6: of the order of the dose's effect on logits
        slack = float(change.abs().max())
        assert torch.allclose(found.kl[:, 1], form / 2, rtol=2 * slack, atol=1e-9)


def test_a_model_without_a_cache_keeps_its_steered_states():
    edits = torch.arange(6.0).reshape(1, 3, 2)
    change = add_to_last(edits)
    assert torch.equal(change(torch.zeros(1, 1, 2)), edits[:, -1:])
    whole = change(torch.zeros(1, 5, 2))
    assert not whole[:, :2].any()
    assert torch.equal(whole[:, 2:], edits)


def test_a_law_that_reads_tokens_is_given_them(table):
    """X' is what the last token says: with drift 1 the state becomes its entry in a table."""
    module, model = table
    entries = torch.randn(12, 6, generator=generator(3))
    ids = torch.tensor([[1, 2], [3, 4]])
    found, x = one_step(module, model, affine(torch.zeros(6), entries, sde=False), ids, 1.0)
    before = module.out(x).log_softmax(-1)
    after = module.out(entries[found.words[:, 0]]).log_softmax(-1)
    expected = (before.exp() * (before - after)).sum(-1)
    assert torch.allclose(found.kl[:, 1].float(), expected, atol=1e-5)
