"""Models that their user holds."""

import copy

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer

import sdelens
from tests.plugins.models.attach.held import QUICK, TEXTS, Toy
from tests.small import small_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def plain(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture
def bridge(plain, tokenizer):
    return TransformerBridge.boot_transformers(
        "theirs",
        hf_model=copy.deepcopy(plain),
        tokenizer=copy.deepcopy(tokenizer),
        device="cpu",
    )


@pytest.fixture(scope="module")
def study(folder, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return sdelens.attach(model, tokenizer=tokenizer).fit(TEXTS, layers=1, seed=0, **QUICK)


@pytest.fixture
def toy():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Toy()
