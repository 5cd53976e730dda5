"""TransformerLens bridges, against plain forward hooks on the same Hugging Face model."""

import copy
import json
import random
import shutil

import numpy as np
import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

import sdelens
from sdelens.errors import UnknownName, Unreachable, UsageError
from sdelens.models import language_model
from sdelens.protocols import LanguageModel, Site
from sdelens.states.capturing import sites_of
from sdelens_plugins.models.bridge import BridgeModel, resolve_device
from sdelens_plugins.models.catalogue import blocks_of, locate
from tests.small import small_model

# float32: what fused and spelt-out attention differ by, relative to the largest state
CLOSE = 2e-6


@pytest.fixture(scope="session")
def random_gpt2(shared, tmp_path_factory):
    """A GPT-2 of random weights with dropout in its configuration, saved as a folder."""
    folder = tmp_path_factory.mktemp("models") / "random-gpt2"
    sizes = {"n_layer": 3, "n_embd": 32, "n_head": 4, "n_positions": 32, "vocab_size": 65}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        GPT2LMHeadModel(GPT2Config(**sizes)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(shared / "models" / "char-gpt2-shakespeare" / name, folder)
    return folder


@pytest.fixture(
    scope="session",
    params=["TinyStories-656K", "char-gpt2-shakespeare", "stories260K", "random-gpt2"],
)
def folder(request, shared, random_gpt2):
    return random_gpt2 if request.param == "random-gpt2" else shared / "models" / request.param


@pytest.fixture(scope="session")
def plain(folder):
    """The Hugging Face model, untouched."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def loaded(folder):
    return BridgeModel.load(str(folder), device="cpu")


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


def blocks_in(model):
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


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


def tokens_for(model, rows=2, length=20):
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, model.card.vocabulary, (rows, length), generator=random)


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


def test_the_card_says_what_the_model_is(loaded, plain, folder):
    card = loaded.card
    config = plain.config
    assert isinstance(loaded, LanguageModel)
    assert (card.name, card.revision) == (folder.name, "local")
    assert card.blocks == config.num_hidden_layers == len(blocks_in(plain))
    assert card.blocks == blocks_of(locate(str(folder)).config)
    assert (card.width, card.vocabulary) == (config.hidden_size, config.vocab_size)
    assert card.context == config.max_position_embeddings
    assert (card.weights, card.dtype) == ("raw", "float32")


def test_the_fingerprint_tells_weights_and_types_apart(random_gpt2):
    one = BridgeModel.load(str(random_gpt2), device="cpu").card.fingerprint
    again = BridgeModel.load(str(random_gpt2), device="cpu")
    assert again.card.fingerprint == one
    assert again.untrained(5).card.fingerprint != one
    half = BridgeModel.load(str(random_gpt2), device="cpu", dtype="bfloat16").card
    assert half.fingerprint != one
    assert half.dtype == "bfloat16"


def test_an_untrained_model_has_the_shape_and_its_own_seeded_weights(char_gpt2):
    before = torch.random.get_rng_state()
    one, same, other = (char_gpt2.untrained(seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.card.fingerprint == same.card.fingerprint != other.card.fingerprint
    assert one.card.revision == "untrained 1"
    assert (one.card.blocks, one.card.width) == (4, 64)
    site = Site("block", 3)
    assert one.run(tokens_for(one), read=[site]).reads[site].isfinite().all()


def test_loading_leaves_the_global_random_states_alone(random_gpt2):
    before = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    BridgeModel.load(str(random_gpt2), device="cpu")
    after = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert torch.equal(after[0], before[0])
    assert after[1:] == before[1:]


def test_a_tokenizer_without_bos_is_not_given_one(random_gpt2, tmp_path):
    # a bridge makes the EOS its tokenizer's BOS where there is none
    folder = tmp_path / "no-bos"
    shutil.copytree(random_gpt2, folder)
    settings = (folder / "tokenizer_config.json").read_text()
    changed = settings.replace('"bos_token": "\\n"', '"bos_token": null')
    assert changed != settings
    (folder / "tokenizer_config.json").write_text(changed)
    model = BridgeModel.load(str(folder), device="cpu")
    assert model.card.bos is None
    assert model.card.eos == 0
    assert language_model(model.bridge).card.bos is None
    recording = sdelens.capture(model, ["ROMEO"], layers=0)
    assert not recording.origin.bos_prepended


def test_decoded_tokens_join_to_the_text(shared_model):
    text = "Once upon a time there was a cat"
    assert "".join(shared_model.decode(shared_model.encode(text))).strip() == text


@pytest.mark.parametrize("name", ["./no/such/folder", "/no/such/folder"])
def test_a_folder_that_is_not_there_is_an_unknown_model(name):
    with pytest.raises(UnknownName, match="is not a folder"):
        BridgeModel.load(name)


def test_a_folder_that_is_no_model_says_what_is_missing(tmp_path, random_gpt2):
    with pytest.raises(UsageError, match=r"has no config\.json"):
        BridgeModel.load(str(tmp_path))
    for name in ("config.json", "tokenizer_config.json"):
        shutil.copy(random_gpt2 / name, tmp_path)
    with pytest.raises(UsageError, match=r"has no \*\.safetensors"):
        BridgeModel.load(str(tmp_path))


def test_a_model_that_does_not_load_is_one_clear_sentence(tmp_path, random_gpt2):
    folder = tmp_path / "odd"
    shutil.copytree(random_gpt2, folder)
    (folder / "config.json").write_text('{"model_type": "no-such-architecture"}')
    with pytest.raises(UsageError, match="odd does not load as a causal language model"):
        BridgeModel.load(str(folder), device="cpu")


def test_code_that_lies_with_a_model_is_not_run_nor_asked_about(tmp_path, monkeypatch):
    folder, ran = small_model(tmp_path / "odd"), tmp_path / "ran"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    own = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    config |= {"model_type": "odd", "auto_map": own}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "own.py").write_text(
        f"open({str(ran)!r}, 'w')\n"
        "from transformers import GPT2Config, GPT2LMHeadModel\n"
        "class Config(GPT2Config): model_type = 'odd'\n"
        "class Model(GPT2LMHeadModel): config_class = Config\n",
        encoding="utf-8",
    )
    questions = []
    monkeypatch.setattr("builtins.input", lambda said="": questions.append(said) or "y")
    with pytest.raises(UsageError, match="does not load as a causal language model"):
        BridgeModel.load(str(folder), device="cpu")
    assert questions == []
    assert not ran.exists()


def test_wrong_types_and_devices_are_refused(random_gpt2):
    with pytest.raises(UsageError, match="dtype must be float32"):
        BridgeModel.load(str(random_gpt2), dtype="int8")
    with pytest.raises(UsageError, match="device must be auto"):
        resolve_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no cuda device"):
            resolve_device("cuda")


def test_a_hub_name_with_no_network_is_unreachable():
    with pytest.raises(Unreachable, match="not in the local cache"):
        BridgeModel.load("someone/something-that-is-not-cached", offline=True)


def test_a_path_will_do_for_a_name(random_gpt2):
    assert language_model(random_gpt2, device="cpu").card.name == "random-gpt2"


def test_another_config_with_the_same_weights_has_another_fingerprint(shared, tmp_path):
    import json
    import shutil

    from sdelens_plugins.models.bridge import BridgeModel

    source = shared / "models" / "stories260K"
    copy = shutil.copytree(source, tmp_path / "stories260K")
    config = json.loads((source / "config.json").read_text())
    (copy / "config.json").chmod(0o644)
    (copy / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.1}))
    before, after = (BridgeModel.load(str(folder)).card.fingerprint for folder in (source, copy))
    assert before != after
