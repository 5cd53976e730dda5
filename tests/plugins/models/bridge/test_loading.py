"""Loading a model as a bridge: its card, its tokenizer, and what cannot be loaded."""

import json
import random
import shutil

import numpy as np
import pytest
import torch

import sdelens
from sdelens.errors import UnknownName, Unreachable, UsageError
from sdelens.models import language_model
from sdelens.protocols import LanguageModel, Site
from sdelens_plugins.models.bridge import BridgeModel, resolve_device
from tests import checks
from tests.plugins.models.bridge.boots import blocks_in, tokens_for
from tests.small import small_model


def test_the_card_says_what_the_model_is(loaded, plain, folder):
    card = loaded.card
    config = plain.config
    assert isinstance(loaded, LanguageModel)
    assert (card.name, card.revision) == (folder.name, "local")
    assert card.blocks == config.num_hidden_layers == len(blocks_in(plain))
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
    with checks.paused():
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
    with pytest.raises(UsageError, match=r"has no model\.safetensors"):
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
