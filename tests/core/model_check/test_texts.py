"""Models whose context or tokenizer is not what it should be."""

import json
from dataclasses import replace

from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from sdelens.model_check.check import model_check
from sdelens.models import language_model
from sdelens_plugins.models.bridge import BridgeModel
from sdelens_plugins.models.plain import PlainModel
from tests.core.model_check.drawn import checked, drawn, llama, of
from tests.small import small_model


def test_the_context_is_the_smallest_of_the_names_in_the_config():
    mpt = of("mpt", d_model=16, n_layers=2, n_heads=2, max_seq_len=32, vocab_size=97)
    assert language_model(mpt).card.context == 32
    assert "32 tokens (max_seq_len)" in checked(mpt)["context"].words
    adapted = PlainModel.adapt(llama())
    longer = replace(adapted, card=replace(adapted.card, context=64))
    rows = {row.name: row for row in model_check(longer).rows}
    assert rows["context"].passed is False
    assert rows["context"].words == "64 tokens, but max_position_embeddings is 32"
    config = GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=32, vocab_size=97)
    short = drawn(GPT2LMHeadModel, config)
    short.transformer.wpe = nn.Embedding(16, 16)
    adapted = PlainModel.adapt(short)
    rows = {row.name: row for row in model_check(adapted).rows}
    assert rows["context"].passed is False
    assert "does not run" in rows["context"].words


def test_a_tokenizer_that_does_not_give_back_its_tokens_is_refused(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: k for k, word in enumerate(["?", "It", "isn", "'", "t", "here", ",", "is"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    lost = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?")
    row = checked(llama(), tokenizer=lost)["tokenizer"]
    assert row.passed is False
    assert "written out and read again are" in row.words
    small = BridgeModel.load(str(small_model(tmp_path / "small")), device="cpu")
    row = checked(llama(vocab_size=8), tokenizer=small.words.tokenizer)["tokenizer"]
    assert row.passed is False
    assert "of another model" in row.words


def test_a_clean_up_of_spaces_does_not_change_tokens(tmp_path):
    folder = small_model(tmp_path / "small")
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text()) | {"clean_up_tokenization_spaces": True}
    file.write_text(json.dumps(settings))
    model = BridgeModel.load(str(folder), device="cpu")
    assert "".join(model.decode(model.encode("is it ? No ."))) == "is it ? No ."
    assert {row.name: row.passed for row in model_check(model).rows}["tokenizer"]
