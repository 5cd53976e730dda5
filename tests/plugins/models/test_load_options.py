"""Options of loading by name: stored type, PEFT adapter, rounded weights, several devices."""

import pytest
import torch

import sdelens
from sdelens.errors import UsageError
from sdelens.model_check.check import model_check
from sdelens.runs.job import Job
from sdelens_plugins.models.bridge import BridgeModel
from tests.small import sentences, small_model

IDS = torch.tensor([[5, 9, 30, 7, 80]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def wide(tmp_path_factory, folder):
    """A Llama whose weights torchao can round."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    place = tmp_path_factory.mktemp("models") / "wide"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "max_position_embeddings": 48}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LlamaConfig(**sizes, **heads, vocab_size=len(tokenizer))
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def load(folder, **settings):
    return BridgeModel.load(str(folder), device="cpu", **settings)


def logits(model):
    return model.run(IDS, logits=True).logits.float()


def test_auto_is_the_type_of_the_checkpoint(folder, wide):
    for place, dtype in ((folder, "float32"), (wide, "bfloat16")):
        assert load(place, dtype="auto").card.dtype == dtype
        assert BridgeModel.preview(str(place), dtype="auto").card.dtype == dtype
    assert load(wide).card.dtype == "float32"


def test_an_adapter_is_merged_and_named(folder, tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    settings = {"init_lora_weights": False, "fan_in_fan_out": True}
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        adapted = peft.get_peft_model(model, config).eval()
    place = tmp_path / "lora"
    adapted.save_pretrained(place)
    found, plain = load(folder, adapter=str(place)), load(folder)
    assert torch.allclose(logits(found), adapted(IDS).logits, atol=1e-5)
    assert found.card.fingerprint != plain.card.fingerprint
    assert found.card.revision.startswith("local, adapter lora ")
    (place / "adapter_model.safetensors").rename(place / "adapter_model.bin")
    with pytest.raises(UsageError, match=r"has no adapter_model\.safetensors"):
        load(folder, adapter=str(place))


def test_weights_on_several_devices_give_the_same_states(folder):
    pytest.importorskip("accelerate")
    found, plain = load(folder, device_map="auto"), load(folder)
    assert found.library == "transformers"
    assert found.card.fingerprint == plain.card.fingerprint
    assert torch.allclose(logits(found), logits(plain).to(logits(found).device), atol=1e-5)


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_rounded_weights_are_close_named_and_checked(wide, kind):
    pytest.importorskip("torchao")
    found, exact = load(wide, quantise=kind), load(wide)
    assert found.card.quantisation == kind
    assert found.card.fingerprint != exact.card.fingerprint
    distance = (logits(found) - logits(exact)).norm() / logits(exact).norm()
    assert 0 < distance < (0.02 if kind == "int8" else 0.3)
    assert not model_check(found).failed
    assert sdelens.capture(found, sentences(3), layers=1).origin.model.quantisation == kind


def test_options_are_part_of_the_job_only_if_they_are_given():
    plain = Job()
    assert plain.model_settings.keys() == {"revision", "dtype", "device", "offline"}
    assert Job(device_map="auto").hash8 == plain.hash8 != Job(quantise="int8").hash8
    assert Job(adapter="lora").model_settings["adapter"] == "lora"
    for settings, said in (
        ({"quantise": "int3"}, "--quantise must be int8, int4; got 'int3'"),
        ({"device_map": "balanced"}, "--device-map must be auto"),
        ({"adapter": ""}, "--adapter is empty"),
    ):
        with pytest.raises(UsageError, match=said):
            Job(**settings)
