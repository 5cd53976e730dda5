"""Models with drawn weights, and the rows of their check."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

import sdelens
from sdelens.errors import UsageError
from sdelens.model_check.check import model_check
from sdelens.models import language_model
from sdelens.paths.documents import Document, Documents

SMALL = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": 97}
LLAMA = SMALL | {"intermediate_size": 32, "max_position_embeddings": 32, "initializer_range": 0.3}


def drawn(make, *args):
    """A model with weights drawn from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(*args).eval()


def llama(kind=LlamaForCausalLM, **settings):
    return drawn(kind, LlamaConfig(**LLAMA | settings))


def of(kind, **settings):
    return drawn(AutoModelForCausalLM.from_config, AutoConfig.for_model(kind, **settings))


def checked(model, **settings):
    """The rows by name."""
    return {row.name: row for row in model_check(language_model(model, **settings)).rows}


def failing(model, name, said):
    """The row that fails first, and stops capture with exit code 2."""
    rows = checked(model)
    assert next(row.name for row in rows.values() if row.passed is False) == name
    assert said in rows[name].words
    with pytest.raises(UsageError, match=f"fails the check '{name}'") as caught:
        sdelens.capture(model, ids())
    assert caught.value.exit_code == 2


def ids():
    """Documents of token ids."""
    return Documents.of([Document(tuple(range(3 + k, 20 + k))) for k in range(4)])
