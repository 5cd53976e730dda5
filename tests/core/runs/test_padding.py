"""Padded token ids: the mask of the tokenizer removes padding, and without it they are refused."""

import pytest
import torch

import sdelens
from sdelens.errors import UsageError
from tests.small import sentences, small_model


@pytest.fixture(scope="module")
def lens(tmp_path_factory):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = small_model(tmp_path_factory.mktemp("models") / "small")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return sdelens.attach(model, tokenizer=AutoTokenizer.from_pretrained(folder))


def padded(lens, side):
    tokenizer = lens.settings["tokenizer"]
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, side
    texts = [*sentences(3), "a bird sang in the tree"]
    return tokenizer(texts, padding=True, return_tensors="pt"), texts


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_mask_of_a_tokenizer_gives_the_states_of_the_texts_alone(lens, side):
    batch, texts = padded(lens, side)
    found = lens.capture(batch.input_ids, attention_mask=batch.attention_mask, layers=1)
    ids = [lens.settings["tokenizer"](text).input_ids for text in texts]
    (block,), (alone,) = found.view(1), lens.capture(ids, layers=1).view(1)
    assert torch.equal(block.mask, alone.mask)
    assert torch.allclose(block.states, alone.states, atol=1e-5)


@pytest.mark.parametrize(("side", "verb"), [("left", "begins"), ("right", "ends")])
def test_padding_ids_without_a_mask_are_refused(lens, side, verb):
    batch, _ = padded(lens, side)
    with pytest.raises(UsageError, match=rf"{verb} with \d+ of the padding id 0,"):
        lens.capture(batch.input_ids, layers=1)
    with pytest.raises(UsageError, match="attention_mask"):
        lens.fit(batch.input_ids, layers=1)


def test_one_bos_and_one_eos_are_no_padding(lens):
    assert lens.capture([[0, 5, 6, 7, 0], [0, 9, 8, 0]], layers=1).view(1)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (torch.ones(2, 3), "must have the shape"),
        ([[1, 0, 1, 1]], "padding inside the text"),
        ("no", "needs token ids"),
    ],
)
def test_a_mask_that_does_not_fit_is_one_sentence(lens, mask, said):
    with pytest.raises(UsageError, match=said):
        lens.capture([[3, 4, 5, 6]], attention_mask=mask, layers=1)
