"""A model and what is recorded of it."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import sdelens
from tests.small import small_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def tokenizer(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@pytest.fixture(scope="module")
def model(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture
def lens(model, tokenizer):
    return sdelens.attach(model, tokenizer=tokenizer)
