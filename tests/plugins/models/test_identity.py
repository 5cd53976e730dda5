"""One model in several libraries is one model; other weights and other hooks are not."""

import copy
import time

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer

import sdelens
from sdelens.errors import UsageError
from sdelens.models import language_model
from sdelens.states.identity import hooks_of, identified, other_hooks, other_weights
from sdelens.states.reference import reference_states
from sdelens_plugins.models.location import embedded
from tests.plugins.models.test_support import ARCHITECTURES, drawn

TINY = embedded()["tiny"]
TEXTS = [f"{letter} was what they saw" for letter in "abcdefghij"]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(TINY)


@pytest.fixture(scope="module")
def pristine():
    return AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)


@pytest.fixture
def plain(pristine):
    return copy.deepcopy(pristine)


def boot(model, tokenizer):
    return TransformerBridge.boot_transformers(
        "theirs", hf_model=copy.deepcopy(model), tokenizer=copy.deepcopy(tokenizer), device="cpu"
    )


def used(study):
    """Run the model of a study: the cheapest use of it."""
    return study.steer("the sea", drift=0.5, tokens=2)


def add(vector):
    def add_vector(module, args, out):
        return (out[0] + vector, *out[1:]) if isinstance(out, tuple) else out + vector

    return add_vector


def test_a_bridge_the_model_inside_it_its_name_and_its_folder_are_one_model(plain, tokenizer):
    bridge = boot(plain, tokenizer)
    held = [
        sdelens.attach(plain, tokenizer=tokenizer).model,
        sdelens.attach(bridge).model,
        sdelens.attach(bridge.original_model, tokenizer=tokenizer).model,
        language_model("tiny", device="cpu"),
        language_model(TINY, device="cpu"),
    ]
    assert len({model.card.fingerprint for model in held}) == 1
    cards = [identified(model) for model in held]
    assert not any(other_weights(a, b) or other_hooks(a, b) for a in cards for b in held)


@pytest.mark.parametrize("first", ["plain", "bridge", "inner"])
def test_a_fit_made_on_one_opens_on_the_others(first, plain, tokenizer, tmp_path):
    bridge = boot(plain, tokenizer)
    held = {"plain": plain, "bridge": bridge, "inner": bridge.original_model}
    study = sdelens.attach(held[first], tokenizer=tokenizer).fit(TEXTS, layers=6, probe="constant")
    place = study.save(tmp_path / "run")
    for model in (*held.values(), "tiny", TINY):
        assert used(sdelens.load(place, model=model))


@pytest.mark.parametrize("kind", ["gpt2", *sorted(ARCHITECTURES.keys() - {"falcon", "olmo2"})])
def test_a_bridge_has_the_fingerprint_of_its_model_in_every_architecture(kind, tokenizer):
    model = drawn(kind, **ARCHITECTURES.get(kind, {}))
    bridge = boot(model, tokenizer)
    known = sdelens.attach(model, tokenizer=tokenizer).model.card.fingerprint
    assert sdelens.attach(bridge).model.card.fingerprint == known
    weight = dict(bridge.original_model.named_parameters()).popitem()[1]
    weight.data.view(-1)[0] += 1e-3
    assert sdelens.attach(bridge).model.card.fingerprint != known


def test_a_changed_copy_in_a_bridge_is_a_changed_weight(tokenizer):
    bridge = boot(drawn("gpt_neox"), tokenizer)
    known = sdelens.attach(bridge).model.card.fingerprint
    query = bridge.blocks[1].attn.q.weight
    query.data[0, 0] += 1e-3  # its matrix was copied from the fused one, which stays
    assert sdelens.attach(bridge).model.card.fingerprint != known
    query.data[0, 0] -= 1e-3


def perturbed(model):
    random = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.data *= 1 + 1e-3 * torch.randn(weight.shape, generator=random)


def merged(model):
    random = torch.Generator().manual_seed(0)
    weight = model.transformer.h[3].attn.c_attn.weight
    left, right = (torch.randn(n, 2, generator=random) for n in weight.shape)
    weight.data += 1e-3 * left @ right.mT  # a LoRA of rank 2


def swapped(model):
    words = model.get_input_embeddings().weight
    words.data[[700, 701]] = words.data[[701, 700]]


@pytest.mark.parametrize("change", [perturbed, merged, swapped])
def test_other_weights_are_refused_in_every_library(change, plain, tokenizer, tmp_path):
    lens = sdelens.attach(plain, tokenizer=tokenizer)
    place = lens.fit(TEXTS, layers=6, probe="constant").save(tmp_path / "run")
    other = copy.deepcopy(plain)
    with torch.no_grad():
        change(other)
    for model in (other, boot(other, tokenizer)):
        with pytest.raises(UsageError, match=r"differs \(fingerprint \w{12} there, \w{12} here"):
            sdelens.load(place, model=model)


def test_hooks_are_named_in_the_manifest_the_run_name_and_the_report(plain, tokenizer):
    lens = sdelens.attach(plain, tokenizer=tokenizer)
    without = lens.fit(TEXTS, layers=6, probe="constant")
    studies = []
    for vector in (1.0, 2.0):
        handle = plain.transformer.h[2].register_forward_hook(add(vector))
        studies.append(lens.fit(TEXTS, layers=6, probe="constant"))
        handle.remove()
    name = "add_vector at transformer.h.2"
    assert without.run.manifest["model"]["hooks"] == []
    assert "hooks" not in without.report().provenance
    for study in studies:
        assert study.run.manifest["model"]["hooks"] == [name]
        assert study.single[1].fitted.origin.model.hooks == (name,)
        assert study.report().provenance["hooks"] == name
        assert "-add_vector-" in study.name
    # the same function with another vector has another name of its run
    assert len({study.name for study in (without, *studies)}) == 3


def test_hooks_have_the_names_of_their_functions_in_every_library(plain, tokenizer):
    def halve(value, hook):
        return value / 2

    bridge = boot(plain, tokenizer)
    with bridge.hooks(fwd_hooks=[("blocks.0.hook_out", halve)]):
        held = (sdelens.attach(bridge), sdelens.attach(bridge.original_model, tokenizer=tokenizer))
        assert [hooks_of(lens.model) for lens in held] == [("halve at blocks.0.hook_out",)] * 2
    assert hooks_of(sdelens.attach(bridge).model) == ()
    loaded = language_model("tiny", device="cpu")
    with loaded.bridge.hooks(fwd_hooks=[("blocks.0.hook_out", halve)]):
        assert hooks_of(loaded) == ("halve at blocks.0.hook_out",)
    lens = sdelens.attach(plain, tokenizer=tokenizer)
    with lens.record(layers=6) as live, torch.no_grad():
        handle = plain.transformer.h[0].register_forward_hook(add(1.0))
        plain(tokenizer("the sea was", return_tensors="pt").input_ids)
        handle.remove()
    assert live.recording.origin.model.hooks == ("add_vector at transformer.h.0",)


def test_a_fit_under_hooks_is_used_only_with_the_same_hooks(plain, tokenizer, tmp_path):
    block, lens = plain.transformer.h[2], sdelens.attach(plain, tokenizer=tokenizer)
    handle = block.register_forward_hook(add(1.0))
    study = lens.fit(TEXTS, layers=6, probe="constant")
    place = study.save(tmp_path / "run")
    again = sdelens.load(place, model=plain, tokenizer=tokenizer)
    assert used(again)
    handle.remove()
    found = r"hooks add_vector at transformer.h.2 there, none here"
    with pytest.raises(UsageError, match=found):
        again.analyze("importance", prompt="the sea")
    with pytest.raises(UsageError, match=found):
        used(sdelens.load(place))  # by name
    with pytest.raises(UsageError, match="with the hooks add_vector"):
        sdelens.steer(study.single[1].fitted, lens.model, "the sea", drift=0.5)
    handle = block.register_forward_hook(add(2.0))
    with pytest.raises(UsageError, match="others under the hooks add_vector"):
        used(again)
    handle.remove()
    bridge = boot(plain, tokenizer)
    with bridge.hooks(fwd_hooks=[("blocks.2.hook_out", lambda value, hook: value + 1.0)]):
        assert used(sdelens.load(place, model=bridge))  # the same hook, named otherwise there


def test_a_hook_that_does_nothing_is_no_other_model(plain, tokenizer):
    made = identified(sdelens.attach(plain, tokenizer=tokenizer).model)
    handle = plain.transformer.h[2].register_forward_hook(lambda *_: None)
    model = sdelens.attach(plain, tokenizer=tokenizer).model
    assert hooks_of(model) == ("lambda at transformer.h.2",)
    assert other_hooks(made, model) == ()
    handle.remove()


def test_a_hook_that_fails_on_the_text_or_counts_is_compared_by_its_name(plain, tokenizer):
    calls = []

    def grow(module, args, out):
        calls.append(0)
        return out + len(calls)

    def fail(module, args, out):
        raise ZeroDivisionError

    for hook in (grow, fail):
        handle = plain.transformer.h[2].register_forward_hook(hook)
        model = sdelens.attach(plain, tokenizer=tokenizer).model
        made = identified(model)
        assert made.reference == ()
        assert other_hooks(made, model) == ()
        handle.remove()
        assert other_hooks(made, model)


def test_the_states_on_the_reference_text_take_well_under_a_second(pristine, tokenizer):
    model = sdelens.attach(pristine, tokenizer=tokenizer).model
    clock = time.perf_counter()
    reference_states(model)
    assert time.perf_counter() - clock < 0.5
