"""How a user's model may be held: its type, its place, what wraps it; see docs/attach.md."""

import pytest
import torch
from transformers import AutoModelForCausalLM

import sdelens
from sdelens.protocols import Site
from tests.small import TEXT, small_model

TEXTS = [f"{i} {TEXT[i % 4]}" for i in range(20)]
SITES = [Site("embed"), *(Site("block", k) for k in range(3))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def whole(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


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
        config = peft.LoraConfig(r=2, init_lora_weights=False, task_type="CAUSAL_LM")
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
