"""A model in memory is the same before and after, hooks and random state included."""

import pytest
import torch
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

import sdelens
from sdelens.errors import UsageError
from tests.plugins.models.attach.held import TEXTS, blocks_in
from tests.small import TEXT


@pytest.fixture(params=["plain", "bridge", "module"])
def attached(request, plain, bridge, tokenizer):
    """A lens of each kind at block 1, the object that it is on, and the layer's number there."""
    if request.param == "plain":
        return sdelens.attach(plain, tokenizer=tokenizer), plain, 1
    if request.param == "bridge":
        bridge(torch.tensor([[1, 2]]))  # a bridge sets hooks of its own in its first pass
        return sdelens.attach(bridge), bridge.original_model, 1
    return sdelens.attach(plain, tokenizer=tokenizer, hook="transformer.h.1"), plain, 0


def snapshot(model):
    """All that must be the same before and after."""
    return {
        "modules": [(name, type(module).__name__) for name, module in model.named_modules()],
        "forward": [vars(module).get("forward") for module in model.modules()],
        "training": [module.training for module in model.modules()],
        "weights": [(id(p), p.dtype, p.device, p.requires_grad) for p in model.parameters()],
        "bytes": [p.detach().double().sum().item() for p in model.parameters()],
        "grads": [p.grad for p in model.parameters()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in model.modules()
        ],
        "config": model.config.to_dict(),
        "attention": model.config._attn_implementation,
        "random": torch.random.get_rng_state().tolist(),
    }


def test_the_model_is_the_same_before_and_after(attached):
    lens, model, layer = attached
    model.train()  # with dropout at work, states would be noise and the random state would move
    model.lm_head.eval()
    before = snapshot(model)
    study = lens.fit(TEXTS, layers=layer, probe="linear", seed=0)
    study.analyze("trajectory", prompt=TEXT[0])
    with lens.record(layers=layer):
        pass
    assert snapshot(model) == before


@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt])
def test_the_model_is_the_same_after_an_error_and_an_interrupt(attached, kind):
    lens, model, layer = attached
    model.train()

    def fail(*_):
        raise kind

    handle = blocks_in(model)[1].register_forward_pre_hook(fail)
    before = snapshot(model)
    with pytest.raises(kind):
        lens.capture(TEXTS, layers=layer)
    assert snapshot(model) == before
    model.eval()  # a pass of the user's own would move the random state
    before = snapshot(model)
    with pytest.raises(kind), lens.record(layers=layer):
        model(input_ids=torch.tensor([[1, 2, 3]]))
    assert snapshot(model) == before
    handle.remove()


def test_a_users_own_hook_stays_active_and_is_told(attached, tmp_path):
    lens, model, layer = attached
    plain = lens.capture(TEXTS, layers=layer, cache=tmp_path)
    assert plain.origin.repeatable
    handle = blocks_in(model)[0].register_forward_hook(
        lambda _, __, out: tuple(0 * x for x in out) if isinstance(out, tuple) else 0 * out
    )
    ablated = lens.capture(TEXTS, layers=layer, cache=tmp_path)
    handle.remove()
    (one,), (two,) = plain.view(layer), ablated.view(layer)
    assert not ablated.origin.repeatable
    assert float((one.states - two.states).abs().max()) > 0.1
    (again,) = lens.capture(TEXTS, layers=layer).view(layer)
    assert torch.equal(one.states, again.states)


def test_a_hook_that_draws_leaves_the_users_random_state_alone(attached):
    lens, model, layer = attached
    block = model.transformer.h[1]
    handle = block.register_forward_hook(lambda _, __, out: out + torch.randn_like(out))
    before = torch.random.get_rng_state()
    recording = lens.capture(TEXTS[:3], layers=layer)
    handle.remove()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not recording.origin.repeatable


def test_a_hook_on_every_module_is_a_hook_on_this_one(attached):
    lens, _, _ = attached
    assert not lens.model.hooked()
    for add in (register_module_forward_hook, register_module_forward_pre_hook):
        handle = add(lambda *_: None)
        told = lens.model.hooked()
        handle.remove()
        assert told
    assert not lens.model.hooked()


def test_states_under_a_hook_are_kept_with_the_study_that_was_fitted_to_them(
    plain, tokenizer, tmp_path
):
    lens = sdelens.attach(plain, tokenizer=tokenizer)
    handle = plain.transformer.h[0].register_forward_hook(lambda _, __, out: 0.5 * out)
    study = lens.fit(TEXTS, layers=1, probe="linear")
    (here,) = study.single[1].test
    handle.remove()
    study.save(tmp_path / "without", states=False)
    with pytest.raises(
        UsageError, match=r"depend on what the user did .* save the run with states=True"
    ):
        next(iter(sdelens.load(tmp_path / "without", model=plain).single[1].test))
    study.save(tmp_path / "run")
    (there,) = sdelens.load(tmp_path / "run", model=plain).single[1].test
    assert torch.equal(here.states, there.states)
    assert (tmp_path / "run" / "states" / "index.json").exists()
