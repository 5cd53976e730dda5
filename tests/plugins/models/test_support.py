"""How a user's model may be held: its type, its place, what wraps it; see docs/attach.md."""

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
)

import sdelens
from sdelens.errors import UsageError
from sdelens.protocols import Site
from tests.small import sentences, small_model

TEXTS = sentences(20)
SITES = [Site("embed"), *(Site("block", k) for k in range(3))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def whole(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {"num_key_value_heads": 1, "head_dim": 8}
ARCHITECTURES = {
    "gpt_neox": {},
    "opt": {"ffn_dim": 32, "word_embed_proj_dim": 16},
    "qwen2": {"num_key_value_heads": 1},
    "qwen3": GROUPED,
    "mistral": {"num_key_value_heads": 1},
    "mixtral": {"num_key_value_heads": 1, "num_local_experts": 3},  # as many as blocks
    "gemma2": GROUPED,
    "phi": {},
    "falcon": {},
    "bloom": {"n_layer": 3, "n_head": 2},
    "olmo2": {},
}


def drawn(kind, **more):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, **SIZES, **more)
        return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_other_architectures_are_read_at_their_blocks_and_while_they_generate(kind):
    model = drawn(kind, **ARCHITECTURES[kind])
    lens = sdelens.attach(model)
    ids = torch.randint(3, 60, (2, 10), generator=torch.Generator().manual_seed(0))
    recording = lens.capture(ids, layers="all", skip_first=0)
    with torch.no_grad():
        expected = model(ids, output_hidden_states=True).hidden_states
    for k in range(2):  # the last is after the norm there
        (block,) = recording.view(k)
        assert torch.allclose(block.states, expected[k + 1], atol=1e-6)
    with lens.record(layers=2) as tape, torch.no_grad():
        model.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert tape.documents.lengths.tolist() == [13, 13]
    (one,), (two,) = tape.recording.view(2), lens.capture(tape.documents, layers=2).view(2)
    assert float((one.states - two.states).abs().max()) <= 1e-5 * float(two.states.abs().max())


@pytest.mark.parametrize("kind", ["bert", "t5"])
def test_what_does_not_write_from_left_to_right_is_refused(kind):
    more = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 3} if kind == "t5" else {}
    loader = AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForMaskedLM
    model = loader.from_config(AutoConfig.for_model(kind, **SIZES, **more))
    with pytest.raises(UsageError, match="is not a causal language model"):
        sdelens.attach(model)


def test_a_cache_that_says_not_how_long_it_is_gives_no_texts_of_single_tokens():
    model = drawn("mamba")
    ids = torch.randint(3, 60, (1, 10), generator=torch.Generator().manual_seed(0))
    with sdelens.attach(model).record(layers=1) as tape, torch.no_grad():
        model.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert sum(tape.skipped.values()) == 4
    with pytest.raises(UsageError, match="its cache does not say how many positions it holds"):
        _ = tape.documents


def states(model, layers="embed,all"):
    recording = sdelens.attach(model).capture(TEXTS, layers=layers)
    return {site: next(iter(recording.view(site))).states for site in recording.sites}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_kept_recorded_and_fitted(folder, whole, dtype, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    found, exact = states(model), states(whole)
    # eight or eleven bits of mantissa, through a few blocks
    close = 16 * torch.finfo(dtype).eps
    for site, value in found.items():
        assert value.dtype == torch.float32
        assert float((value - exact[site]).abs().max()) <= close * float(exact[site].abs().max())
    study = sdelens.attach(model).fit(TEXTS, layers=1, probe="linear")
    assert study.single[1].fitted.origin.model.dtype == str(dtype).removeprefix("torch.")
    study.save(tmp_path / "run")
    assert sdelens.load(tmp_path / "run", model=model).model is not None
    assert {p.dtype for p in model.parameters()} == {dtype}


@pytest.mark.parametrize("place", ["cpu", "disk"])
def test_a_model_that_accelerate_spreads_gives_the_same_states(folder, whole, place, tmp_path):
    parts = ("lm_head", *(f"transformer.{name}" for name in ("wte", "wpe", "h.0", "h.1")))
    rest = ("transformer.h.2", "transformer.ln_f")
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        device_map=dict.fromkeys(parts, "cpu") | dict.fromkeys(rest, place),
        offload_folder=tmp_path,
    )
    where = {name: p.device for name, p in model.named_parameters()}
    lens, exact = sdelens.attach(model), states(whole)
    assert ("meta" in str(where)) == (place == "disk")
    assert lens.model.card.fingerprint == sdelens.attach(whole).model.card.fingerprint
    for site, value in states(model).items():
        assert torch.equal(value, exact[site])
    with lens.record(layers="all") as tape, torch.no_grad():
        model(input_ids=torch.tensor([[3, 5, 7]]))
    assert tape.documents.lengths.tolist() == [3]
    assert {name: p.device for name, p in model.named_parameters()} == where


def test_an_adapter_of_peft_is_part_of_what_is_captured(folder, whole):
    peft = pytest.importorskip("peft", reason="peft is not installed")
    inner = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        settings = {"init_lora_weights": False, "fan_in_fan_out": True, "task_type": "CAUSAL_LM"}
        config = peft.LoraConfig(r=2, **settings)
        model = peft.get_peft_model(inner, config).eval()
    lens, ids = sdelens.attach(model), torch.tensor([[3, 5, 7, 9]])
    found, exact = states(model), states(whole)
    assert float((found[Site("block", 0)] - exact[Site("block", 0)]).abs().max()) > 1e-3
    assert lens.model.card.fingerprint != sdelens.attach(whole).model.card.fingerprint
    with lens.record(layers=2) as tape, torch.no_grad():
        model(input_ids=ids)
        model.generate(input_ids=ids, max_new_tokens=3, do_sample=False, eos_token_id=None)
    assert tape.documents.lengths.tolist() == [4, 6]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_gpu_states_are_those_of_the_cpu(folder, whole):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map="cuda")
    exact = states(whole)
    for site, value in states(model).items():
        scale = float(exact[site].abs().max())
        assert float((value - exact[site]).abs().max()) <= 1e-3 * scale  # products in TF32
    study = sdelens.attach(model).fit(TEXTS, layers=1, probe="linear")
    assert study.analyze("trajectory").figures
