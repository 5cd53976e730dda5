"""TransformerLens bridges, against plain forward hooks on the same Hugging Face model."""

import copy

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM

import sdelens
from sdelens.models import language_model
from sdelens.protocols import Site
from sdelens.states.capturing import sites_of
from sdelens_plugins.models.bridge import BridgeModel
from tests.plugins.models.bridge.boots import blocks_in, tokens_for

# float32: what fused and spelt-out attention differ by, relative to the largest state
CLOSE = 2e-6


def boot(folder):
    """A bridge as a user makes one."""
    inner = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = BridgeModel.load(str(folder), device="cpu").words.tokenizer
    return TransformerBridge.boot_transformers(
        "theirs", hf_model=inner, tokenizer=copy.deepcopy(tokenizer), device="cpu"
    )


@pytest.fixture(scope="session")
def theirs(random_gpt2):
    return boot(random_gpt2)


@torch.no_grad()
def by_hand(model, tokens):
    """States by plain forward hooks: the embedding, then the output of each block."""
    found = []

    def hook(module, args, out):
        found.append(out[0] if isinstance(out, tuple) else out)

    modules = [model.get_input_embeddings(), *blocks_in(model)]
    handles = [module.register_forward_hook(hook) for module in modules]
    model(input_ids=tokens, use_cache=False)
    for handle in handles:
        handle.remove()
    return found


def plus_one(value, hook):
    return value + 1.0


def snapshot(bridge):
    """All that must be the same before and after."""
    model = bridge.original_model
    return {
        "training": [module.training for module in bridge.modules()],
        "weights": [(p.dtype, p.device, p.requires_grad) for p in model.parameters()],
        "bytes": [p.detach().double().sum().item() for p in model.parameters()],
        "hooks": [len(module._forward_hooks) for module in bridge.modules()],
        "points": [len(point.fwd_hooks) for point in bridge.hook_dict.values()],
        "attention": model.config._attn_implementation,
        "level": getattr(bridge, "context_level", 0),
        "random": torch.random.get_rng_state().tolist(),
    }


def test_states_equal_those_of_plain_hooks_at_every_layer(loaded, plain):
    tokens = tokens_for(loaded)
    sites = sites_of("embed,all", loaded)
    expected = by_hand(plain, tokens)
    reads = loaded.run(tokens, read=sites).reads
    for site, states in zip(sites, expected, strict=True):
        scale = float(states.abs().max())
        assert float((reads[site] - states).abs().max()) <= CLOSE * scale
        alone = loaded.run(tokens, read=[site]).reads[site]
        assert torch.equal(alone, reads[site]), "the same, whether or not the pass stops there"


def test_the_last_layer_is_before_the_final_norm(loaded, plain):
    (last,) = sites_of(-1, loaded)
    tokens = tokens_for(loaded)
    state = loaded.run(tokens, read=[last]).reads[last]
    with torch.no_grad():
        after = plain(input_ids=tokens, output_hidden_states=True).hidden_states[-1]
    assert float((state - after).abs().max()) > 0.1
    norm = plain.transformer.ln_f if hasattr(plain, "transformer") else plain.model.norm
    assert torch.allclose(norm(state), after, atol=1e-4)


def test_a_bridge_as_it_stands_gives_the_states_of_the_model_it_holds(folder, plain):
    bridge = boot(folder)
    model = language_model(bridge)
    sites = sites_of("embed,all", model)
    reads = model.run(tokens_for(model), read=sites).reads
    for site, states in zip(sites, by_hand(plain, tokens_for(model)), strict=True):
        assert float((reads[site] - states).abs().max()) <= 5 * CLOSE * float(states.abs().max())


@pytest.mark.parametrize("ours", [True, False], ids=["loaded", "theirs"])
def test_the_pass_stops_at_the_deepest_site(loaded, theirs, ours):
    model = loaded if ours else language_model(theirs)
    ran = []
    inner = model.plain.model if ours else model.bridge.original_model
    handles = [
        block.register_forward_pre_hook(lambda *_, k=k: ran.append(k))
        for k, block in enumerate(blocks_in(inner))
    ]
    tokens = tokens_for(model)
    for sites, reached in ((["embed"], []), ([1, 0], [0, 1]), (["embed", -1], None)):
        ran.clear()
        model.run(tokens, read=sites_of(sites, model))
        assert ran == (list(range(model.card.blocks)) if reached is None else reached)
    ran.clear()
    model.run(tokens, read=sites_of(0, model), logits=True)
    assert ran == list(range(model.card.blocks)), "logits need the whole pass"
    for handle in handles:
        handle.remove()


def test_the_model_is_the_same_before_and_after(random_gpt2):
    bridge = boot(random_gpt2)
    bridge.train()  # with dropout at work, states would be noise and the random state would move
    bridge.original_model.lm_head.eval()
    before = snapshot(bridge)
    sdelens.capture(bridge, ["ROMEO: what light", "JULIET"], layers="all")
    assert snapshot(bridge) == before
    bridge.eval()
    steady = sdelens.capture(bridge, ["ROMEO: what light"], layers=2)
    bridge.train()
    again = sdelens.capture(bridge, ["ROMEO: what light"], layers=2)
    for one, two in zip(steady.view(2), again.view(2), strict=True):
        assert torch.equal(one.states, two.states)


@pytest.mark.parametrize("ours", [True, False], ids=["loaded", "theirs"])
def test_the_model_is_the_same_after_an_error(loaded, theirs, ours):
    model = loaded if ours else language_model(theirs)
    before = snapshot(model.bridge)
    site = Site("block", 1)
    inner = model.plain.model if ours else model.bridge.original_model

    def fail(value):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.run(tokens_for(model), read=[Site("embed"), site], edit={site: fail})
    with pytest.raises((IndexError, RuntimeError)):
        model.run(torch.tensor([[10**6]]), read=[site])
    assert snapshot(model.bridge) == before
    assert not any(module._forward_hooks for module in blocks_in(inner))


@pytest.mark.parametrize("held", ["loaded", "adapted"])
def test_a_users_own_hook_stays_active(random_gpt2, held):
    model = BridgeModel.load(str(random_gpt2), device="cpu")
    if held == "adapted":
        model = language_model(model.bridge)
    tokens, site = tokens_for(model), Site("block", 2)
    before = model.run(tokens, read=[site]).reads[site]
    model.bridge.hook_dict["blocks.0.hook_out"].add_hook(plus_one)
    steered = model.run(tokens, read=[site]).reads[site]
    by_edit = BridgeModel.load(str(random_gpt2), device="cpu").run(
        tokens, read=[site], edit={Site("block", 0): lambda value: value + 1.0}
    )
    assert (steered - before).abs().max() > 0.1
    assert torch.allclose(steered, by_edit.reads[site], atol=1e-5)
    model.bridge.reset_hooks()
    assert torch.allclose(model.run(tokens, read=[site]).reads[site], before, atol=1e-5)


def test_states_under_a_users_hook_are_never_taken_from_the_cache(random_gpt2, tmp_path):
    bridge = boot(random_gpt2)
    (plain,) = sdelens.capture(bridge, ["ROMEO"], layers=2, cache=tmp_path).view(2)
    bridge.hook_dict["blocks.0.hook_out"].add_hook(plus_one)
    (hooked,) = sdelens.capture(bridge, ["ROMEO"], layers=2, cache=tmp_path).view(2)
    assert not torch.allclose(plain.states, hooked.states)


def test_an_edit_changes_what_comes_after_it_and_what_is_read_there(loaded):
    tokens = tokens_for(loaded)
    early, late = Site("block", 0), Site("block", loaded.card.blocks - 1)
    plain = loaded.run(tokens, read=[early, late]).reads
    edited = loaded.run(tokens, read=[early, late], edit={early: lambda x: 2 * x}).reads
    assert torch.equal(edited[early], 2 * plain[early])
    assert not torch.allclose(edited[late], plain[late], atol=1e-3)


def test_attention_patterns_are_laws_over_earlier_positions(loaded):
    tokens = tokens_for(loaded)
    site = Site("attention", 1)
    out = loaded.run(tokens, read=[site, Site("block", 1)])
    pattern = out.reads[site]
    assert pattern.shape[0] == 2
    assert pattern.shape[-2:] == (20, 20)
    assert torch.allclose(pattern.sum(-1), torch.ones(()), atol=1e-5)
    assert pattern.triu(1).abs().max() == 0
    fused = loaded.run(tokens, read=[Site("block", 1)]).reads[Site("block", 1)]
    assert torch.allclose(out.reads[Site("block", 1)], fused, atol=1e-4)


def test_logits_are_those_of_the_model(loaded, plain):
    tokens = tokens_for(loaded)
    with torch.no_grad():
        expected = plain(input_ids=tokens).logits
        assert torch.allclose(loaded.run(tokens, logits=True).logits, expected, atol=1e-4)
