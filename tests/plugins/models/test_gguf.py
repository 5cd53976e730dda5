"""A GGUF file is read as the folder from which it was made: same ids, same states."""

import json
from pathlib import Path

import pytest
import torch

import sdelens
from sdelens.errors import UsageError
from sdelens_plugins.models.bridge import BridgeModel
from sdelens_plugins.models.location import locate
from sdelens_plugins.models.open_models import SMOLLM2
from sdelens_plugins.models.package_index import place_of
from tests.small import TEMPLATE, sentences, small_model

gguf = pytest.importorskip("gguf", reason="pip install 'sdelens[gguf]'")
REFERENCE = json.loads((Path(__file__).parent / "data" / "llama_cpp.json").read_text())
DIGITS = "In 1984, 3.14159 and 12 345 ½\n\n  x2y  I'll"
NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    **{f"self_attn.{k}_proj": f"attn_{k}" for k in "qkv"},
    "self_attn.o_proj": "attn_output",
    **{f"mlp.{k}_proj": f"ffn_{k}" for k in ("gate", "up", "down")},
}


def gguf_name(name):
    """The name of a tensor of Llama in a GGUF file."""
    for own, theirs in NAMES.items():
        name = name.replace(own, theirs)
    return name.replace("model.layers.", "blk.")


def interleaved(weight, heads):
    """Rows of a query or key projection in the order of llama.cpp's rotations."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(folder, file, *, tokens, kind, rule="default", quantised=False, **more):
    """A GGUF file of a folder with a Llama, written by llama.cpp's own library."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config, heads = model.config, model.config.num_attention_heads
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_name("small")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    type_ = gguf.LlamaFileType.MOSTLY_Q8_0 if quantised else gguf.LlamaFileType.ALL_F32
    writer.add_file_type(type_)
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(rule)
    writer.add_token_list(tokens)
    for name, value in more.items():
        getattr(writer, f"add_{name}")(value)
    for name, weight in model.state_dict().items():
        value = weight.numpy()
        if "q_proj" in name:
            value = interleaved(value, heads)
        if "k_proj" in name:
            value = interleaved(value, config.num_key_value_heads)
        if quantised and value.ndim == 2 and value.shape[1] % 32 == 0:
            raw = gguf.quantize(value, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(gguf_name(name), raw, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(gguf_name(name), value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small Llama in Hugging Face format whose tokenizer separates digits like SmolLM2's."""
    from tokenizers import Tokenizer, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = small_model(tmp_path_factory.mktemp("models") / "small")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 48}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LlamaConfig(
            **sizes, **heads, vocab_size=tokenizer.get_vocab_size(), tie_word_embeddings=False
        )
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def vocabulary(folder):
    """Tokens by id, their types, and merges, as in a GGUF file."""
    stored = json.loads((folder / "tokenizer.json").read_text())
    tokens = sorted(stored["model"]["vocab"], key=stored["model"]["vocab"].get)
    special = {each["content"] for each in stored["added_tokens"] if each["special"]}
    merges = [" ".join(pair) for pair in stored["model"]["merges"]]
    return tokens, [3 if token in special else 1 for token in tokens], merges


@pytest.fixture
def written(whole, tmp_path, monkeypatch):
    """Writes a GGUF file of the small model; the cache is in the temporary folder."""
    monkeypatch.setenv("SDELENS_CACHE", str(tmp_path / "cache"))

    def write(name="small.gguf", rule="smollm", quantised=False, **also):
        tokens, types, merges = vocabulary(whole)
        more = {"token_types": types, "token_merges": merges, "bos_token_id": 0, "eos_token_id": 0}
        return write_gguf(
            whole,
            tmp_path / name,
            tokens=tokens,
            kind="gpt2",
            rule=rule,
            quantised=quantised,
            **more,
            **also,
        )

    return write


def test_values_ids_and_states_are_those_of_the_folder_and_the_conversion_is_kept(
    whole, written, tmp_path
):
    file = written()
    model, expected = BridgeModel.load(str(file)), BridgeModel.load(str(whole))
    assert (model.card.name, model.card.quantisation) == ("small.gguf", "F32")
    assert (model.card.bos, model.card.context) == (expected.card.bos, 48)
    for text in [*sentences(5), DIGITS, "<|endoftext|> café 🙂"]:
        assert model.encode(text) == expected.encode(text)
    ids = torch.tensor([model.encode(sentences(1)[0])])
    logits = (each.run(ids, logits=True).logits for each in (model, expected))
    assert torch.equal(*logits)
    (folder,) = (tmp_path / "cache" / "models").glob("gguf-*")
    before = (folder / "model.safetensors").stat().st_mtime_ns
    moved = file.rename(tmp_path / "renamed.gguf")
    assert locate(str(moved)).folder == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_plan_knows_the_chat_template_before_the_file_is_converted(written):
    assert BridgeModel.preview(str(written(chat_template=TEMPLATE))).has_template
    assert not BridgeModel.preview(str(written("plain.gguf"))).has_template


def test_quantised_weights_are_close_and_named_in_card_and_plan(whole, written):
    file = written(quantised=True)
    preview = BridgeModel.preview(str(file)).card  # before it is converted
    model, exact = BridgeModel.load(str(file)), BridgeModel.load(str(whole))
    assert preview.quantisation == model.card.quantisation == "Q8_0"
    assert "float32, Q8_0 weights" in model.card.weight_words
    assert (preview.width, preview.blocks, preview.context) == (32, 2, 48)
    ids = torch.tensor([model.encode(sentences(1)[0])])
    one, other = (each.run(ids, logits=True).logits for each in (model, exact))
    distance = float((one - other).norm() / other.norm())
    assert 0 < distance < 0.03  # a step of Q8_0 is 1/127 of the largest of 32 values


def test_a_file_is_a_model_in_python(written):
    recording = sdelens.capture(str(written()), sentences(3), layers=1)
    assert recording.origin.model.quantisation == "F32"


def test_a_sentencepiece_file_without_merges_gives_the_ids_of_its_tokenizer(
    shared, stories, tmp_path, monkeypatch
):
    monkeypatch.setenv("SDELENS_CACHE", str(tmp_path / "cache"))
    folder = shared / "models" / "stories260K"
    tokens = vocabulary(folder)[0]
    types = [2, 3, 3, *[6] * 256, *[1] * (len(tokens) - 259)]
    file = write_gguf(
        folder,
        tmp_path / "stories.gguf",
        tokens=tokens,
        kind="llama",
        token_scores=[-float(i) for i in range(len(tokens))],
        token_types=types,
        bos_token_id=1,
        eos_token_id=2,
        add_bos_token=True,
    )
    model = BridgeModel.load(str(file))
    for text in ("Once upon a time, Lily ran. She was happy!", "  two  spaces", "é 🙂\n\nEnd"):
        assert model.encode(text) == stories.encode(text)
    assert model.words.tokenizer("Once").input_ids[0] == model.card.bos == 1


def test_damaged_unknown_and_absent_files_are_one_sentence(written, tmp_path):
    whole = written()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole.read_bytes()[:2000])
    other = tmp_path / "other.gguf"
    other.write_bytes(b"PK\x03\x04" + bytes(100))
    for file, said in (
        (cut, "does not load as a causal language model"),
        (other, "is not a GGUF file"),
        (tmp_path / "absent.gguf", "does not exist"),
        (written("ruled.gguf", rule="klingon"), "the rule 'klingon', which is not known"),
    ):
        with pytest.raises(UsageError, match=said):
            BridgeModel.load(str(file))
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_conversion_that_was_cut_off_is_made_again(written):
    file = written()
    folder = locate(str(file)).folder
    (folder / "gguf.json").unlink()
    (folder / "model.safetensors").write_bytes(b"")
    assert locate(str(file)).weights[0].stat().st_size > 0


def test_real_tokens_and_probabilities_are_those_of_llama_cpp():
    if not place_of("smollm2-135m-instruct", SMOLLM2).exists():
        pytest.skip("run sdelens models get smollm2-135m-instruct to check its tokens")
    model = BridgeModel.load("smollm2-135m-instruct", offline=True)
    name = "SmolLM2-135M-Instruct"
    for text, ids in zip(REFERENCE["texts"], REFERENCE["ids"][name], strict=True):
        assert model.encode(text) == ids
    ids = torch.tensor([model.encode("The capital of France is")])
    found = model.run(ids, logits=True).logits[0, -1].log_softmax(-1)
    for token, expected in REFERENCE["log_probabilities"][name].items():
        # llama.cpp also rounds activations to eight bits
        assert float(found[int(token)]) == pytest.approx(expected, abs=0.15)
