"""Attributions against closed forms and against the axioms they must keep."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.estimation.additive import AdditiveMean
from sdelens.estimation.noise import ConstantNoise
from sdelens.fitting.fitted import Fitted, Record
from sdelens.laws.sde import KernelSDE
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Site
from sdelens.seeds import generator
from sdelens_plugins.analyzers.importance.attention import attention, received, to_first
from sdelens_plugins.analyzers.importance.attribution import (
    TOLERANCE,
    adaptive_integrated_gradients,
    gradient,
    gradient_times_input,
    integrated_gradients,
    occlusion,
)
from sdelens_plugins.analyzers.importance.response import EMBED, Response
from tests.spoken import Closed


def linear_fit(dim):
    """X' = A x + noise, in the states' own coordinates."""
    blank = torch.empty(0, dtype=torch.long)
    matrix = torch.randn(dim, dim, generator=generator(1)) / dim**0.5
    mean = AdditiveMean(matrix, torch.zeros(1), torch.zeros(1, dim), blank, torch.zeros(0, dim))
    law = KernelSDE(mean, ConstantNoise.independent(torch.ones(dim)))
    states = torch.randn(4, 5, dim, generator=generator(2))
    basis = fit_basis(BasisSpec("raw"), Trajectories.from_states(states, 1.0))
    return Fitted(law, basis, Record("linear", {}, "discrete", 1.0, 0))


def response(model, tokens, site=Site("block", 1), fixed=0):  # noqa: B008 (frozen)
    fit, at = linear_fit(model.card.width), torch.tensor([8, 5, 7])
    return Response.of(model, site, fit, tokens[0], at, fixed=fixed).along_drift()


def drawn(embeddings):
    return embeddings.mean(0).expand(embeddings.shape)


def test_a_text_with_its_own_embeddings_has_its_own_states(model, tokens):
    for fixed in (0, 4):
        for site in (EMBED, Site("block", 0), Site("block", 2)):
            ask = response(model, tokens, site, fixed)
            found = ask.states(ask.embeddings[None])
            states = model.run(tokens[:1], read=[site]).reads[site][:, fixed:]
            assert torch.allclose(found, states, atol=1e-5)


def test_the_gradient_is_that_of_finite_differences(model, tokens):
    for fixed in (0, 4):
        ask = response(model, tokens, fixed=fixed)
        e = ask.embeddings.repeat(3, 1, 1)
        way = torch.randn(e.shape, generator=generator(3))
        step = 1e-2
        expected = (ask(e + step * way) - ask(e - step * way)) / (2 * step)
        found = (gradient(ask, e) * way).sum((-2, -1))
        # the error of a central difference is of second order in the step
        assert torch.allclose(found, expected, rtol=2e-2, atol=2e-2 * float(expected.abs().max()))


def test_a_fixed_beginning_changes_no_attribution(model, tokens):
    whole, part = response(model, tokens), response(model, tokens, fixed=4)
    e = whole.embeddings
    base = torch.cat([e[:4], drawn(e)[4:]])
    for method in (
        lambda ask, e, base: integrated_gradients(ask, e, base, nodes=5).values,
        lambda ask, e, base: occlusion([ask], e, base)[0],
    ):
        values, own = method(whole, e, base), method(part, e[4:], base[4:])
        assert values[:, :4].abs().max() < 1e-6
        assert torch.allclose(values[:, 4:], own, atol=1e-5)


def test_integrated_gradients_are_complete(model, tokens):
    ask = response(model, tokens)
    e = ask.embeddings
    found = integrated_gradients(ask, e, drawn(e), nodes=48)
    assert torch.allclose(found.values.sum(-1), found.change, rtol=1e-2, atol=1e-2)
    assert found.gap.max() < 1e-2
    assert found.change.abs().min() > 0.05
    coarse = integrated_gradients(ask, e, drawn(e), nodes=1)
    assert coarse.gap.max() > found.gap.max()


def test_parts_are_halved_until_gradients_add_up(model, tokens):
    ask = response(model, tokens)
    e = ask.embeddings
    few = integrated_gradients(ask, e, drawn(e), nodes=2)
    assert few.gap.max() > TOLERANCE
    found = adaptive_integrated_gradients(ask, e, drawn(e), nodes=2, halvings=8)
    assert found.gap.max() <= TOLERANCE
    assert torch.equal(found.change, few.change)
    fine = few.gap <= TOLERANCE
    assert torch.equal(found.values[fine], few.values[fine])
    exact = integrated_gradients(ask, e, drawn(e), nodes=96)
    assert torch.allclose(found.values, exact.values, atol=0.1 * float(exact.values.abs().max()))


def test_tokens_after_the_state_move_nothing(model, tokens):
    ask = response(model, tokens)
    e = ask.embeddings
    base = torch.zeros_like(e)
    later = torch.arange(9) > ask.at[:, None]
    assert later.any()
    for values in (
        gradient_times_input(ask, e),
        integrated_gradients(ask, e, base, nodes=4).values,
        *occlusion([ask], e, base),
    ):
        assert values[later].abs().max() < 1e-5
        assert values[~later].abs().max() > 1e-3


def test_occlusion_is_the_change_of_whole_passes(model, tokens):
    ask = response(model, tokens)
    e = ask.embeddings
    (values,) = occlusion([ask], e, drawn(e))
    for token in range(9):
        changed = e.clone()
        changed[token] = drawn(e)[token]
        expected = ask.everywhere(e) - ask.everywhere(changed)
        assert torch.allclose(values[:, token], expected, atol=1e-5)


def test_all_agree_where_the_number_is_linear_in_the_embeddings(model, tokens):
    ask = response(model, tokens, EMBED)
    e = ask.embeddings
    base = torch.zeros_like(e)
    first = gradient_times_input(ask, e)
    assert torch.allclose(
        first, integrated_gradients(ask, e, base, nodes=3).values.float(), atol=1e-5
    )
    assert torch.allclose(first, occlusion([ask], e, base)[0], atol=1e-5)
    own = torch.arange(9) == ask.at[:, None]
    assert first[~own].abs().max() == 0, "at the embedding a state is its own token's"


def test_constant_noise_is_moved_by_nothing(model, tokens):
    ask = replace(response(model, tokens), direction=None)
    e = ask.embeddings
    assert ask.everywhere(e).tolist() == pytest.approx([4.0] * 3), "the root of 16 variances of 1"
    assert gradient_times_input(ask, e).abs().max() == 0
    assert integrated_gradients(ask, e, torch.zeros_like(e), nodes=2).values.abs().max() == 0


def test_a_model_without_gradients_is_refused(model, tokens):
    ask = response(Closed(model), tokens)
    with pytest.raises(UsageError, match="runs without"):
        gradient_times_input(ask, ask.embeddings)


def test_attention_sums_to_one_and_sees_no_future(model, tokens):
    weights = attention(model, tokens)
    assert weights.shape == (3, 3, 2, 9, 9)
    assert torch.allclose(weights.sum(-1), torch.ones(3, 3, 2, 9), atol=1e-5)
    assert weights.triu(1).abs().max() == 0


def test_attention_that_cannot_be_read_is_said_to_be(model, tokens):
    with pytest.raises(UsageError, match="cannot be read"):
        attention(Closed(model), tokens)


def test_uniform_attention_is_received_alike_and_a_sink_receives_all():
    causal = torch.ones(6, 6).tril()
    assert torch.allclose(received(causal / causal.sum(-1, keepdim=True)), torch.ones(6))
    sink = torch.zeros(6, 6)
    sink[:, 0] = 1
    assert to_first(sink) == 1
    assert received(sink)[1:].abs().max() == 0
    assert received(sink)[0] == pytest.approx(6 / sum(1 / k for k in range(1, 7)))
