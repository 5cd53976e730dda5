"""Small GPT-2 folders and bridges on them."""

import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from sdelens_plugins.models.bridge import BridgeModel


@pytest.fixture(scope="session")
def random_gpt2(shared, tmp_path_factory):
    """A GPT-2 of random weights with dropout in its configuration, saved as a folder."""
    folder = tmp_path_factory.mktemp("models") / "random-gpt2"
    sizes = {"n_layer": 3, "n_embd": 32, "n_head": 4, "n_positions": 32, "vocab_size": 65}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        GPT2LMHeadModel(GPT2Config(**sizes)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(shared / "models" / "char-gpt2-shakespeare" / name, folder)
    return folder


@pytest.fixture(
    scope="session",
    params=["TinyStories-656K", "char-gpt2-shakespeare", "stories260K", "random-gpt2"],
)
def folder(request, shared, random_gpt2):
    return random_gpt2 if request.param == "random-gpt2" else shared / "models" / request.param


@pytest.fixture(scope="session")
def plain(folder):
    """The Hugging Face model, untouched."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def loaded(folder):
    return BridgeModel.load(str(folder), device="cpu")
