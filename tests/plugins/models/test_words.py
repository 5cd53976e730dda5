"""Tokens as text: bytes that are not valid text, and ids that the tokenizer does not have."""

import pytest

from sdelens_plugins.models.bridge import BridgeModel
from sdelens_plugins.models.words import Words, readable
from tests.small import small_model


def test_bytes_and_unknown_ids_are_shown_by_their_numbers(tmp_path):
    model = BridgeModel.load(str(small_model(tmp_path / "small")), device="cpu")
    assert model.decode(model.encode("é")) == ["<0xC3>", "<0xA9>"]
    assert model.decode([151_700]) == ["#151700"]
    assert "".join(model.decode(model.encode("the cat , it ' s"))) == "the cat , it ' s"


def test_byte_tokens_of_sentencepiece_are_shown_by_their_numbers(stories):
    shown = stories.decode(stories.encode("ъ"))
    assert shown[-2:] == ["<0xD1>", "<0x8A>"]
    assert "�" not in "".join(shown)


def test_a_token_of_several_spaces_keeps_them():
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE({"▁": 0, "▁▁": 1, "▁a": 2, "a": 3}, []))
    tokenizer.decoder = decoders.Metaspace()
    words = Words(PreTrainedTokenizerFast(tokenizer_object=tokenizer))
    assert words.decode([0, 1, 2, 3]) == [" ", "  ", " a", "a"]


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"caf\xc3\xa9", "café"), (b"\xc3", "<0xC3>"), (b"a\xffb\xf0\x9f", "a<0xFF>b<0xF0><0x9F>")],
)
def test_only_bytes_that_are_no_text_are_numbers(data, text):
    assert readable(data) == text
