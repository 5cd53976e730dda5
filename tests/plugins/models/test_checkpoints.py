"""A checkpoint is read whole, from safetensors, or refused with the names of its tensors."""

import json
import shutil
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import load_file, save_file

import sdelens
from sdelens.errors import UsageError
from sdelens_plugins.models.bridge import BridgeModel
from tests.small import sentences, small_model

LAYER = "transformer.h.1.mlp.c_fc.weight"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def llama(tmp_path_factory, whole):
    """A model whose output layer is a tensor of its own."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "llama"
    vocabulary = json.loads((whole / "config.json").read_text())["vocab_size"]
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "max_position_embeddings": 48, "vocab_size": vocabulary}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(LlamaConfig(**sizes, **heads)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(whole / name, folder)
    return folder


@pytest.fixture
def changed(tmp_path):
    """A copy of a folder with some tensors added or removed, and other settings."""

    def copy(folder, *, without=(), added=None, **config):
        new = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
        shutil.copytree(folder, new)
        tensors = load_file(new / "model.safetensors")
        kept = {name: t for name, t in tensors.items() if name not in without}
        save_file(kept | (added or {}), new / "model.safetensors", {"format": "pt"})
        settings = json.loads((new / "config.json").read_text()) | config
        (new / "config.json").write_text(json.dumps(settings))
        return new

    return copy


def load(folder):
    return BridgeModel.load(str(folder), device="cpu")


def refused(folder, match):
    with pytest.raises(UsageError, match=match) as caught:
        load(folder)
    return str(caught.value)


def test_missing_unexpected_and_mismatched_tensors_are_named(whole, changed):
    refused(changed(whole, without=[LAYER]), rf"1 missing: {LAYER}\.")
    head = {"v_head.weight": torch.zeros(3)}
    refused(changed(whole, added=head), r"1 unexpected: v_head\.weight\.")
    narrow = {LAYER: torch.zeros(3, 3)}
    refused(changed(whole, added=narrow), rf"1 of another shape: {LAYER} \(\[3, 3\] instead of")
    both = refused(changed(whole, without=[LAYER], added=head), "1 missing")
    assert "1 unexpected" in both


def test_another_number_of_layers_is_refused_however_large(llama, changed):
    deep = refused(changed(llama, num_hidden_layers=12), "90 missing: model.layers.10.")
    assert "and 87 more" in deep
    refused(changed(llama, num_hidden_layers=1), "9 unexpected: model.layers.1.")
    for setting, size in (
        ("num_hidden_layers", 10**4),
        ("hidden_size", 2**20),
        ("intermediate_size", 10**9),
        ("vocab_size", 2**24),
    ):
        refused(changed(llama, **{setting: size}), "describes a larger model")


ABSURD = {
    "num_hidden_layers": (-1, 0, 10**9, 10**400, 2.5, True, "3", None),
    "hidden_size": (-16, 0, 10**9),
    "vocab_size": (-1, 0, 10**9),
    "max_position_embeddings": (-1, 0, 10**10),
    "rms_norm_eps": (1e39, 1e308),
    "rope_parameters": ({"rope_type": "default", "rope_theta": 1e300},),
}


@pytest.mark.parametrize("setting", ABSURD)
def test_numbers_that_no_model_has_are_one_sentence_before_weights_are_read(
    llama, changed, setting, capfd
):
    for value in ABSURD[setting]:
        folder = changed(llama, **{setting: value})
        for read in (load, lambda place: BridgeModel.preview(str(place), device="cpu")):
            with pytest.raises(UsageError, match=r"config\.json") as raised:
                read(folder)
            assert setting in str(raised.value)
            assert len(str(raised.value)) < 500
    assert capfd.readouterr() == ("", "")


def test_masks_of_old_checkpoints_and_prefixes_of_base_models_are_known(whole, changed):
    masks = {"attn.bias": torch.ones(1, 1, 4, 4), "attn.masked_bias": torch.tensor(-1e4)}
    old = {f"transformer.h.0.{name}": mask for name, mask in masks.items()}
    tensors = load_file(whole / "model.safetensors")
    base = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    same = load(whole).card.fingerprint
    assert load(changed(whole, added=old)).card.fingerprint == same
    assert load(changed(whole, without=tensors, added=base)).card.fingerprint == same


def test_without_an_output_layer_states_are_those_of_the_whole_model_and_nothing_is_sampled(
    llama, changed
):
    folder = changed(llama, without=["lm_head.weight"])
    model, texts = load(folder), sentences(4)
    assert load(folder).card.fingerprint == model.card.fingerprint != load(llama).card.fingerprint
    (found,), (expected,) = (
        sdelens.capture(each, texts, layers=1).view(1) for each in (model, load(llama))
    )
    assert torch.equal(found.states, expected.states)
    ids = torch.zeros(1, 3, dtype=torch.long)
    for predict in (lambda: model.run(ids, logits=True), lambda: model.bridge(ids)):
        with pytest.raises(UsageError, match=r"no output layer \(lm_head\)"):
            predict()
    with pytest.raises(UsageError, match=r"no text can be sampled"):
        sdelens.attach(model).fit(documents=12, length=8, probe="linear")


def test_a_pickle_is_never_read(whole, tmp_path):
    folder, ran = tmp_path / "pickled", tmp_path / "ran"
    shutil.copytree(whole, folder)

    class Bomb:
        def __reduce__(self):
            return open, (str(ran), "w")

    torch.save(OrderedDict(bomb=Bomb()), folder / "pytorch_model.bin")
    shutil.copy(folder / "pytorch_model.bin", folder / "adapter_model.bin")
    exact = load(whole).card.fingerprint
    assert load(folder).card.fingerprint == exact  # next to safetensors
    (folder / "model.safetensors").rename(folder / "x.safetensors")
    refused(folder, "pickled weights are not loaded")
    config = json.loads((folder / "config.json").read_text())
    named = config | {"transformers_weights": "adapter_model.bin"}
    (folder / "config.json").write_text(json.dumps(named))
    refused(folder, "pickled weights are not loaded")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {LAYER: "pytorch_model.bin"}}))
    refused(folder, r"must name \*\.safetensors beside it, got pytorch_model\.bin")
    assert not ran.exists()


@pytest.mark.parametrize(
    "index",
    [
        {"weight_map": {"a": "../small/model.safetensors"}},
        {"weight_map": {"a": "absent.safetensors"}},
        {"weight_map": {"a": 3}},
        {"weight_map": {}},
        {"weight_map": [1]},
        [],
    ],
)
def test_an_index_names_safetensors_in_its_own_folder(whole, tmp_path, index):
    folder = tmp_path / "indexed"
    shutil.copytree(whole, folder)
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, r"must (name|hold)")
    parts = {
        "weight_map": dict.fromkeys(load_file(folder / "part.safetensors"), "part.safetensors")
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(parts))
    assert load(folder).card.fingerprint == load(whole).card.fingerprint


def test_an_adapter_is_not_mistaken_for_its_base(whole, tmp_path):
    folder = tmp_path / "adapted"
    shutil.copytree(whole, folder)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "gpt2"}')
    refused(folder, "is an adapter of another model")


def test_settings_that_a_bridge_cannot_read_are_one_sentence(whole, changed):
    refused(changed(whole, architectures=3), "does not load as a causal language model")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 100),
        ("config.json", b"[" * 100_000),
        ("config.json", b"[]"),
        ("config.json", b'{"model_type": "gpt2", "n_embd": "wide"}'),
        ("tokenizer.json", b"{}"),
    ],
)
def test_damaged_files_are_one_sentence(whole, tmp_path, name, content):
    folder = tmp_path / "damaged"
    shutil.copytree(whole, folder)
    (folder / name).write_bytes(content)
    refused(folder, "damaged does not load as a causal language model")
